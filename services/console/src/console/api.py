"""The console's door: the page, its stream of server-sent events, and the commands of people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import Mount

from console.board import Board
from console.handlers import command_of
from console.page import FRAGMENTS, WEB, chart, environment, fragment, sorted_models
from driftloop_bus.errors import Refused
from driftloop_contracts import AnyEvent

# Four pictures a second are live to an eye; more only cost.
LOOK_EVERY_S: Final = 0.25
HEARTBEAT_S: Final = 15.0
MAX_STREAMS: Final = 100


class Outlet(Protocol):
    """Where commands go."""

    async def publish(self, event: AnyEvent) -> None:
        """The log has acked the event. Raises TryAgain while it is away: nothing happened then."""


def router(board: Board, outlet: Outlet) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    templates = environment()
    routes.routes.append(Mount("/static", StaticFiles(directory=WEB / "static"), name="static"))
    open_streams: set[int] = set()

    @routes.get("/")
    async def page() -> HTMLResponse:
        parts = {name: fragment(templates, name, board) for name in FRAGMENTS}
        return HTMLResponse(templates.get_template("page.html").render(parts=parts))

    @routes.get("/events")
    async def events(request: Request) -> StreamingResponse:
        if len(open_streams) >= MAX_STREAMS:
            raise Refused(f"{MAX_STREAMS} pages are open on this console already", status=503)

        async def stream() -> AsyncIterator[bytes]:
            open_streams.add(id(request))
            try:
                async for piece in changes(board, templates):
                    if await request.is_disconnected():
                        return
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
        known = board.commands.get(command_id)
        if known is None or known.answer is None:
            return {"id": command_id, "state": "pending", "seen": known is not None}
        answer = known.answer
        kind = "driftloop.command.refused.v1" if known.refused else answer.kind
        return {
            "id": command_id, "state": "answered", "type": kind, "event_id": answer.id, "reason": answer.words,
        }  # fmt: skip

    @routes.get("/models")
    async def models() -> JSONResponse:
        shown = [
            {
                "model": one.name,
                "owner": one.owner,
                "deployment": json.loads(one.deployment.model_dump_json()) if one.deployment else None,
                "open_incidents": sorted(one.incidents),
                "chart": chart(one),
                "story": [asdict(line) | {"time": line.time.isoformat()} for line in one.story],
            }
            for one in sorted_models(board)
        ]
        return JSONResponse(shown)

    return routes


async def changes(board: Board, templates: Any) -> AsyncIterator[bytes]:
    """The page's parts at once, then again whenever the board changed: `event: <part>`."""
    shown, quiet_s = -1, 0.0
    while True:
        if board.revision != shown:
            shown, quiet_s = board.revision, 0.0
            for name in FRAGMENTS:
                yield sse(name, fragment(templates, name, board))
            yield sse("charts", json.dumps([chart(model) for model in sorted_models(board)]))
        elif quiet_s >= HEARTBEAT_S:
            quiet_s = 0.0
            yield b": still here\n\n"
        await asyncio.sleep(LOOK_EVERY_S)
        quiet_s += LOOK_EVERY_S


def sse(name: str, data: str) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {data}\n\n".encode()


async def body_of(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises Refused with what it is instead."""
    try:
        body = json.loads(await request.body())
    except ValueError as odd:
        raise Refused(f"the body is no JSON: {odd}", status=400) from odd
    if not isinstance(body, dict):
        raise Refused(f"the body must be a JSON object, got {type(body).__name__}", status=400)
    return body
