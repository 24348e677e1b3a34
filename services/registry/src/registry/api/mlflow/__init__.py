"""MLflow's REST API, as version 3.17 of its client speaks it.

Why it exists: people have this client already. Tracking, registry, artifacts; not the web page's private routes. Every answer
comes from the transaction that made it true, and every change leaves its event in that transaction's outbox.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from driftloop_artifacts import ArtifactError, ArtifactStore, StoreUnavailable
from driftloop_bus.errors import Refused, TryAgain
from driftloop_kit.service import Context
from registry.api.mlflow import artifacts, experiments, logged_models, registered_models, runs, versions
from registry.api.mlflow.door import Call, Door
from registry.api.mlflow.given import Given
from registry.handlers import Room
from registry.handlers.refused import invalid, refused

VERSION: Final = "3.17.2"
"""What `/version` says: the release whose wire this is."""
SERVER_INFO: Final = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": False,
    "multipart_downloads_enabled": False,
}
CALLS: Final[dict[tuple[str, str], Call]] = {
    **experiments.CALLS,
    **runs.CALLS,
    **logged_models.CALLS,
    **registered_models.CALLS,
    **versions.CALLS,
    **artifacts.CALLS,
}
PREFIXES: Final = ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/")
_STREAMS: Final[dict[str, Callable[[Door, Request], Awaitable[Response]]]] = {
    "PUT": artifacts.upload,
    "GET": artifacts.download,
    "DELETE": artifacts.remove,
}


def install(app: FastAPI, context: Context[Room], store: ArtifactStore, max_file_bytes: int) -> None:
    """The routes are part of the app, with MLflow's shape of errors."""
    door = Door(context, store, max_file_bytes)
    for prefix in PREFIXES:
        for (method, path), call in CALLS.items():
            app.add_route(prefix + path, _endpoint(door, call), methods=[method], include_in_schema=False)
    for method, stream in _STREAMS.items():
        app.add_route(artifacts.ARTIFACTS + "/{path:path}", _streamed(door, stream), methods=[method])
    app.add_route(artifacts.ARTIFACTS, _endpoint(door, artifacts.list_folder), methods=["GET"])
    app.add_route("/api/3.0/mlflow/server-info", _server_info, methods=["GET"])
    app.add_route("/version", _version, methods=["GET"])
    for kind in (Refused, TryAgain, HTTPException, ArtifactError):
        app.add_exception_handler(kind, _answer)


def _endpoint(door: Door, call: Call) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(await call(door, await _given(request)))

    return endpoint


def _streamed(
    door: Door, stream: Callable[[Door, Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await stream(door, request)

    return endpoint


async def _given(request: Request) -> Given:
    """The fields of the request: of its query, or of its JSON; and those of its path."""
    if request.method == "GET":
        query = {name: request.query_params.getlist(name) for name in request.query_params}
        # A logged model's id stands in the path of a GET alone; elsewhere the body names it too.
        path = request.path_params.get("path_model_id")
        in_path = {} if path is None else {"model_id": path}
        return Given({**query, **in_path}, in_query=True)
    body = await _body(request)
    return Given({**body, **request.path_params})


async def _body(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type")
    raw = await request.body()
    if kind is None and request.method != "DELETE":
        raise invalid("Bad Request. Content-Type header is missing.")
    if kind is not None and kind.partition(";")[0].strip().lower() != "application/json":
        raise invalid("Bad Request. Content-Type must be one of ['application/json'].")
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise refused("BAD_REQUEST", "The body is no JSON.") from error
    # Older clients send a string that holds the object.
    body = json.loads(body) if isinstance(body, str) and body.startswith("{") else body
    if not isinstance(body, dict):
        raise refused("BAD_REQUEST", "The body is no JSON object.")
    return body


async def _server_info(request: Request) -> Response:
    return JSONResponse(SERVER_INFO)


async def _version(request: Request) -> Response:
    return PlainTextResponse(VERSION)


async def _answer(request: Request, error: Exception) -> Response:
    """Every error in the shape of the door that it happened at."""
    status, code, message, headers = _told(error)
    if request.url.path.startswith("/loop"):
        return JSONResponse({"error": message}, status, headers)
    return JSONResponse({"error_code": code, "message": message}, status, headers)


_CODES: Final = {
    401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "ENDPOINT_NOT_FOUND", 413: "BAD_REQUEST",
    503: "TEMPORARILY_UNAVAILABLE",
}  # fmt: skip


def _told(error: Exception) -> tuple[int, str, str, dict[str, str]]:
    match error:
        case Refused():
            return error.status, str(error.facts.get("error_code", "INVALID_PARAMETER_VALUE")), error.message, {}
        case HTTPException():
            code = _CODES.get(error.status_code, "BAD_REQUEST")
            return error.status_code, code, str(error.detail), dict(error.headers or {})
        case TryAgain():
            return 503, "TEMPORARILY_UNAVAILABLE", error.message, {"retry-after": "1"}
        case StoreUnavailable():
            return 503, "TEMPORARILY_UNAVAILABLE", "The artifact store does not answer.", {"retry-after": "1"}
    # Lost or corrupt bytes: asking again would not mend them. No digest and no path is told.
    return 500, "INTERNAL_ERROR", "The file can't be read: its bytes are missing or not what was stored.", {}
