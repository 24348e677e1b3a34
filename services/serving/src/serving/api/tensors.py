"""The tensors of the Open Inference Protocol: JSON and binary elements to plain Python values, and back."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np

from driftloop_bus.errors import Refused

NUMPY: Final[dict[str, str]] = {
    "BOOL": "|b1", "INT8": "|i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "|u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BF16": "<u2",
}  # fmt: skip
DATATYPES: Final = (*NUMPY, "BYTES")
FLOATS: Final = frozenset({"FP16", "FP32", "FP64", "BF16"})
_LENGTH: Final = struct.Struct("<I")


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> list[Any]:
    """The elements in row-major order; nested lists and flat ones are both common. null is a missing value.

    Raises Refused where an element is not of the datatype, or their number not that of the shape.
    """
    elements = _flat(data) if isinstance(data, list) else [data]
    _check_count(name, shape, len(elements))
    if not all(value is None or _is(value, datatype) for value in elements):
        raise Refused(f"input {name!r}: an element is no {datatype}")
    return elements


def from_bytes(name: str, datatype: str, shape: Sequence[int], data: memoryview) -> list[Any]:
    """The elements of a binary tensor. Raises Refused where the bytes are not those of the shape."""
    if datatype == "BYTES":
        elements = _strings(name, data)
        _check_count(name, shape, len(elements))
        return elements
    kind = np.dtype(NUMPY[datatype])
    if len(data) != prod(shape) * kind.itemsize:
        raise Refused(
            f"input {name!r}: {len(data)} bytes, shape {list(shape)} of {datatype} has {prod(shape)} elements"
        )
    values = np.frombuffer(data, kind)
    if datatype == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    return list(values.tolist())


def to_bytes(datatype: str, elements: Sequence[Any]) -> bytes:
    """The elements of an answer as a binary tensor."""
    if datatype == "BYTES":
        parts = [value.encode() for value in elements]
        return b"".join(_LENGTH.pack(len(part)) + part for part in parts)
    return np.asarray(elements, dtype=NUMPY[datatype]).tobytes()


def _flat(data: list[Any]) -> list[Any]:
    """Without recursion: the depth is the caller's."""
    while any(isinstance(part, list) for part in data):
        data = [value for part in data for value in (part if isinstance(part, list) else [part])]
    return data


def _is(value: Any, datatype: str) -> bool:
    if datatype == "BOOL":
        return isinstance(value, bool)
    if datatype == "BYTES":
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    if datatype in FLOATS:
        return isinstance(value, int | float)
    limits = np.iinfo(NUMPY[datatype])
    return isinstance(value, int) and limits.min <= value <= limits.max


def _check_count(name: str, shape: Sequence[int], count: int) -> None:
    if count != prod(shape):
        raise Refused(f"input {name!r}: {count} elements, shape {list(shape)} has {prod(shape)}")


def _strings(name: str, data: memoryview) -> list[Any]:
    found: list[Any] = []
    at = 0
    try:
        while at < len(data):
            (size,) = _LENGTH.unpack_from(data, at)
            at += 4 + size
            if at > len(data):
                raise Refused(f"input {name!r}: a string is longer than its tensor")
            found.append(str(data[at - size : at], "utf-8"))
    except struct.error as error:
        raise Refused(f"input {name!r}: the tensor ends within a length") from error
    except UnicodeDecodeError as error:
        raise Refused(f"input {name!r}: a string is not UTF-8") from error
    return found
