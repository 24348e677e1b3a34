"""/live, /ready and /metrics, the same in every service, answered without any framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftloop_kit.health import Health
from driftloop_kit.http.errors import say
from driftloop_kit.telemetry import Telemetry

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Pages:
    """Answers its three paths and passes on the rest."""

    def __init__(self, app: ASGIApp, health: Health, telemetry: Telemetry) -> None:
        self._app = app
        self._health = health
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        match scope["path"]:
            case "/live":
                await say(send, 200, {"live": True})
            case "/ready":
                report = self._health.report()
                await say(send, 200 if report["ready"] else 503, report)
            case "/metrics":
                await _metrics(send, self._telemetry.exposition())
            case _:
                await self._app(scope, receive, send)


async def _metrics(send: Send, content: bytes) -> None:
    headers = [
        (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),
        (b"content-length", b"%d" % len(content)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
