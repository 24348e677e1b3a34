"""The two paths that take nearly all requests, answered on plain ASGI in front of FastAPI: a third of its cost."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from driftloop_bus.errors import Refused
from serving.api import openinference
from serving.api.answering import refuse
from serving.api.predict import predict
from serving.ticks import Ticks

PREDICT = "/predict/"
MODELS = "/v2/models/"


class HotRoutes:
    """An ASGI app that answers predictions and passes on the rest."""

    def __init__(self, ticks: Ticks, behind: ASGIApp, is_ready: Callable[[], bool]) -> None:
        self._ticks = ticks
        self._behind = behind
        self._is_ready = is_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, answered."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._behind(scope, receive, send)
            return
        path: str = scope["path"]
        try:
            if path.startswith(PREDICT) and path.count("/") == 2:
                await predict(self._ticks, path.removeprefix(PREDICT), receive, send)
            elif path.startswith(MODELS) and path.endswith("/infer"):
                await openinference.infer(self._ticks, path, scope, receive, send)
            else:
                await self._behind(scope, receive, send)
        except Refused as refused:
            if refused.status == 404 and not self._is_ready():
                # What is deployed is still being read: to call a model unknown would be a guess.
                refused = Refused(f"not ready yet: {refused.message}", status=503)
            await refuse(send, refused)
