"""The console's door: the page, its stream of server-sent events, and the commands of people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import Mount

from console.board import Board, Model
from console.commands import command_of
from console.page import WEB, Pictures, sorted_models
from console.ports import Outlet
from driftloop_bus.errors import Refused
from driftloop_contracts.control_plane import CommandRefused
from driftloop_contracts.topics import FACTS

# Four pictures a second are live to an eye; more only cost.
LOOK_EVERY_S: Final = 0.25
HEARTBEAT_S: Final = 15.0
MAX_STREAMS: Final = 100
# Nothing that an event says can load or run anything.
PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
TYPE_OF: Final = {fact.__name__: name for name, fact in FACTS.items()}


def router(board: Board, pictures: Pictures, outlet: Outlet, stopping: asyncio.Event) -> APIRouter:
    """The routes. stopping: ends every stream."""
    routes = APIRouter()
    routes.routes.append(Mount("/static", StaticFiles(directory=WEB / "static"), name="static"))
    open_streams: set[int] = set()

    @routes.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(pictures.page(), headers=PAGE_HEADERS)

    @routes.get("/events")
    async def events(request: Request) -> StreamingResponse:
        if len(open_streams) >= MAX_STREAMS:
            raise Refused(f"{MAX_STREAMS} pages are open on this console already", status=503)

        async def stream() -> AsyncIterator[bytes]:
            open_streams.add(id(request))
            try:
                async for piece in changes(pictures, stopping):
                    yield piece
            finally:
                open_streams.discard(id(request))

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    @routes.post("/commands", status_code=202)
    async def give(request: Request) -> dict[str, str]:
        event = command_of(await body_of(request), datetime.now(UTC))
        await outlet.publish(event)
        return {"id": event.id}

    @routes.get("/commands/{command_id}")
    async def command(command_id: str) -> dict[str, Any]:
        return standing(board, command_id)

    @routes.get("/models")
    async def models() -> JSONResponse:
        return JSONResponse([shown(one) for one in sorted_models(board)])

    return routes


async def changes(pictures: Pictures, stopping: asyncio.Event) -> AsyncIterator[bytes]:
    """The page's parts at once, then each again when it changed, until the console stops."""
    sent: dict[str, str] = {}
    quiet_s = 0.0
    while not stopping.is_set():
        for name, text in pictures.parts().items():
            if sent.get(name) != text:
                sent[name], quiet_s = text, 0.0
                yield sse(name.partition(":")[0], text)
        if quiet_s >= HEARTBEAT_S:
            quiet_s = 0.0
            yield b": still here\n\n"
        await asyncio.sleep(LOOK_EVERY_S)
        quiet_s += LOOK_EVERY_S


def sse(name: str, data: str) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {data}\n\n".encode()


def standing(board: Board, command_id: str) -> dict[str, Any]:
    """Whether the command was heard and answered, and by which event."""
    answer = board.answer(command_id)
    if answer is None:
        return {"id": command_id, "state": "pending", "heard": command_id in board.commands}
    refused = answer.kind == CommandRefused.__name__
    return {
        "id": command_id, "state": "answered", "type": TYPE_OF[answer.kind], "event_id": answer.id, "refused": refused,
        "reason": answer.words,
    }  # fmt: skip


def shown(model: Model) -> dict[str, Any]:
    """The model for programs."""
    return {
        "model": model.name,
        "owner": model.owner,
        "deployment": model.deployment and model.deployment.model_dump(mode="json", exclude_none=True),
        "open_incidents": sorted(model.incidents),
        "chart": model.curves.chart(),
        "story": [
            asdict(line) | {"time": line.time.isoformat(), "recorded": line.recorded.isoformat()}
            for line in model.story
        ],
    }


async def body_of(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises Refused with what it is instead."""
    try:
        body = json.loads(await request.body())
    except ValueError as odd:
        raise Refused(f"the body is no JSON: {odd}", status=400) from odd
    if not isinstance(body, dict):
        raise Refused(f"the body must be a JSON object, got {type(body).__name__}", status=400)
    return body
