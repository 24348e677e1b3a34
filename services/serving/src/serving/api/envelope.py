"""The body of an infer request and of its answer: JSON, then the bytes of binary tensors; perhaps compressed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.types import Scope

from driftloop_bus.errors import Refused
from serving.api.answering import decoded, encode_json
from serving.api.tensors import DATATYPES, from_bytes, from_json, to_bytes

LENGTH: Final = b"inference-header-content-length"
# What a compressed body may become; the layer in front bounds it before it is opened.
MAX_BODY_BYTES: Final = 1 << 20
# Below it compressing costs more than sending.
WORTH_COMPRESSING_BYTES: Final = 512


class TensorIn(msgspec.Struct):
    """One input, JSON or binary."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class Wanted(msgspec.Struct):
    """One output that the caller names."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The JSON part of a request. Unknown keys are ignored: kserve sends `model_name`."""

    inputs: list[TensorIn]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Wanted] | None = None


class TensorOut(msgspec.Struct):
    """One output, before it is known whether it leaves as JSON or as bytes."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


_decoder: Final = msgspec.json.Decoder(InferRequest)


def header(scope: Scope, name: bytes) -> str:
    """The header's value, or nothing."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def opened(scope: Scope, body: bytes) -> tuple[InferRequest, dict[str, tuple[TensorIn, list[Any]]]]:
    """The request, and each input with its elements. Raises Refused (400)."""
    body = _inflated(header(scope, b"content-encoding"), body)
    json_bytes = _json_size(header(scope, LENGTH), len(body))
    request: InferRequest = decoded(_decoder, body[:json_bytes])
    tail, at = memoryview(body)[json_bytes:], 0
    tensors: dict[str, tuple[TensorIn, list[Any]]] = {}
    for tensor in request.inputs:
        _check(tensor, tensors)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            elements = from_json(tensor.name, tensor.datatype, tensor.shape, tensor.data)
        else:
            _check_size(tensor.name, size, len(tail) - at)
            elements = from_bytes(tensor.name, tensor.datatype, tensor.shape, tail[at : at + size])
            at += size
        tensors[tensor.name] = (tensor, elements)
    if at != len(tail):
        raise Refused(f"{len(tail)} bytes follow the JSON part, the inputs account for {at}")
    return request, tensors


def closed(
    scope: Scope, request: InferRequest, head: Mapping[str, Any], outputs: Sequence[TensorOut]
) -> tuple[bytes, dict[bytes, bytes]]:
    """The body of the answer, and its headers. Raises Refused (400) for an output that does not exist."""
    everywhere = request.parameters.get("binary_data_output") is True
    shown, tail = [], b""
    for output, binary in _chosen(request, outputs, everywhere):
        part: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if binary:
            data = to_bytes(output.datatype, output.data)
            tail += data
            part["parameters"] = {"binary_data_size": len(data)}
        else:
            part["data"] = output.data
        shown.append(part)
    body = encode_json({**head, "outputs": shown})
    headers: dict[bytes, bytes] = {}
    if tail:
        headers = {b"content-type": b"application/octet-stream", LENGTH: str(len(body)).encode()}
    return _deflated(header(scope, b"accept-encoding"), body + tail, headers)


def _chosen(request: InferRequest, outputs: Sequence[TensorOut], everywhere: bool) -> list[tuple[TensorOut, bool]]:
    """The outputs to send, in the caller's order, each with whether it leaves as bytes."""
    if request.outputs is None:
        return [(output, everywhere) for output in outputs]
    by_name = {output.name: output for output in outputs}
    if unknown := [wanted.name for wanted in request.outputs if wanted.name not in by_name]:
        raise Refused(f"unknown output {unknown[0][:250]!r}; there are {', '.join(by_name)}")
    return [
        (by_name[wanted.name], wanted.parameters.get("binary_data", everywhere) is True) for wanted in request.outputs
    ]


def _check(tensor: TensorIn, known: Mapping[str, Any]) -> None:
    if tensor.name in known:
        raise Refused(f"input {tensor.name[:250]!r} is given twice")
    if tensor.datatype not in DATATYPES:
        raise Refused(
            f"input {tensor.name[:250]!r}: datatype {tensor.datatype[:20]!r}; allowed: {', '.join(DATATYPES)}"
        )
    if not tensor.shape or any(size < 0 for size in tensor.shape):
        raise Refused(f"input {tensor.name[:250]!r}: shape {tensor.shape[:10]} is none")


def _check_size(name: str, size: Any, left: int) -> None:
    if not isinstance(size, int) or not 0 <= size <= left:
        raise Refused(f"input {name[:250]!r}: its binary_data_size is beyond the {left} bytes that are left")


def _json_size(given: str, whole: int) -> int:
    if not given:
        return whole
    if not given.isascii() or not given.isdigit() or int(given) > whole:
        raise Refused(f"Inference-Header-Content-Length must be a number up to {whole}, the size of the body")
    return int(given)


def _inflated(encoding: str, body: bytes) -> bytes:
    """The body as it was before compression. Its size is counted while it grows: a small bomb stays small."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Refused(f"Content-Encoding {encoding[:20]!r}; allowed: gzip, deflate", status=415)
    try:
        # 32: gzip or zlib, told by the first bytes.
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
        inflated = inflater.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise Refused(f"the body is not {encoding}") from error
    if len(inflated) > MAX_BODY_BYTES:
        raise Refused(f"the body has more than {MAX_BODY_BYTES} bytes when it is opened", status=413)
    if not inflater.eof:
        raise Refused(f"the {encoding} body is cut short")
    return inflated


def _deflated(accepted: str, body: bytes, headers: dict[bytes, bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    wanted = {part.split(";")[0].strip() for part in accepted.split(",")}
    if len(body) < WORTH_COMPRESSING_BYTES or not wanted & {"gzip", "deflate"}:
        return body, headers
    if "gzip" in wanted:
        return gzip.compress(body, 1), headers | {b"content-encoding": b"gzip"}
    return zlib.compress(body, 1), headers | {b"content-encoding": b"deflate"}
