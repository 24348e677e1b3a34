"""Errors in the words of HTTP: one table, one shape `{"error": ...}`. Nothing of the request's body is repeated."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from driftloop_bus.errors import DriftloopError, Refused, TryAgain

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Send

RETRY_AFTER_S: Final = 1
MAX_FIELDS: Final = 20
KNOWN: Final = (Refused, TryAgain, HTTPException)
"""What a door may raise; anything else is a bug, and 500."""


def status_of(error: Exception) -> int:
    """The table."""
    match error:
        case Refused():
            return error.status
        case TryAgain():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case HTTPException():
            return error.status_code
    return HTTPStatus.INTERNAL_SERVER_ERROR


def words_of(error: Exception) -> str:
    """What the caller is told."""
    match error:
        case DriftloopError():
            return error.message
        case HTTPException():
            return str(error.detail)
    return "internal error"


def headers_of(error: Exception) -> dict[str, str]:
    """What the caller's client is told."""
    if isinstance(error, HTTPException) and error.headers:
        return dict(error.headers)
    return {"retry-after": str(RETRY_AFTER_S)} if isinstance(error, TryAgain) else {}


async def say(send: Send, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    """One whole JSON answer."""
    content = json.dumps(body, separators=(",", ":"), default=str).encode()
    given = {"content-type": "application/json", "content-length": str(len(content))} | (headers or {})
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})


async def say_error(send: Send, error: Exception) -> None:
    """The error as the table has it."""
    await say(send, status_of(error), {"error": words_of(error)}, headers_of(error))


def install(app: FastAPI) -> None:
    """The table answers for every error that the app's own protocol does not answer for."""
    from fastapi import exception_handlers as defaults
    from fastapi.exceptions import RequestValidationError

    ours: dict[Any, tuple[Any, Any]] = {
        HTTPException: (_answer, defaults.http_exception_handler),
        RequestValidationError: (_answer_invalid, defaults.request_validation_exception_handler),
        Refused: (_answer, None),
        TryAgain: (_answer, None),
        Exception: (_answer, None),
    }
    for kind, (handler, default) in ours.items():
        if app.exception_handlers.get(kind) in (None, default):
            app.add_exception_handler(kind, handler)


async def _answer(request: Request, error: Exception) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse({"error": words_of(error)}, status_of(error), headers_of(error))


async def _answer_invalid(request: Request, error: RequestValidationError) -> Response:
    from starlette.responses import JSONResponse

    fields = [
        {"field": ".".join(str(part) for part in found["loc"]), "reason": found["msg"]}
        for found in error.errors()[:MAX_FIELDS]
    ]
    told = "; ".join(f"{field['field']}: {field['reason']}" for field in fields)
    return JSONResponse({"error": told, "fields": fields}, HTTPStatus.UNPROCESSABLE_ENTITY)
