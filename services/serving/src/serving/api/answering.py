"""What both hot doors share: reading a body and sending an answer on plain ASGI, errors as `{"error": text}`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from secrets import token_bytes
from typing import Any, Final

import msgspec
from starlette.types import Receive, Send

from driftloop_bus.errors import Refused

JSON: Final = b"application/json"
encode_json: Final = msgspec.json.Encoder().encode


async def body_of(receive: Receive) -> bytes:
    """The whole body; its size is bounded by the layer in front. Raises Refused (400) when the caller hangs up."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    if message["type"] != "http.request":
        raise Refused("the request ended before its body", status=400)
    return body


async def answer(send: Send, status: int, body: bytes, headers: Mapping[bytes, bytes] | None = None) -> None:
    """The whole answer, JSON if the headers don't say otherwise."""
    given = {b"content-type": JSON, b"content-length": str(len(body)).encode()} | dict(headers or {})
    await send({"type": "http.response.start", "status": status, "headers": list(given.items())})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, refused: Refused) -> None:
    """The reason in words; 503 says when to come again."""
    later = {b"retry-after": b"1"} if refused.status == 503 else {}
    await answer(send, refused.status, encode_json({"error": refused.message}), later)


def decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """The body as the decoder's type. Raises Refused: 400 where it is no JSON, 422 where it is of another shape."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refused(str(error), status=422) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"the body is no JSON: {error}", status=400) from error
    except RecursionError as error:
        raise Refused("the body is nested too deeply", status=400) from error


def new_id() -> str:
    """A UUIDv7: ids sort by the time they were made."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(token_bytes(10), "big")
    return str(uuid.UUID(int=(value & ~(0xF << 76) & ~(0x3 << 62)) | (0x7 << 76) | (0x2 << 62)))
