"""`POST /partitions/<topic>/<number>/resume`: a person has seen why a partition stands still, and lets it go on.

The same in every service, behind the same guard. It concerns this process alone: the pause is in its memory.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from driftloop_kit.http.errors import say

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from driftloop_kit.service import Context

_RESUME: Final = re.compile(r"/partitions/([A-Za-z0-9._-]{1,249})/([0-9]{1,9})/resume")


class Partitions:
    """Answers its one path and passes on the rest."""

    def __init__(self, app: ASGIApp, context: Context[Any]) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Raises HTTPException 404 for a partition that is not paused in this process, naming those that are."""
        asked = _RESUME.fullmatch(scope["path"])
        if asked is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] != "POST":
            raise HTTPException(405, "a partition is resumed by POST", {"allow": "POST"})
        topic, number = asked[1], int(asked[2])
        reason = self._resume(topic, number)
        self._context.telemetry.log.warning("resumed", topic=topic, partition=number, reason=reason)
        await say(send, 200, {"topic": topic, "partition": number, "was_paused_because": reason})

    def _resume(self, topic: str, number: int) -> str:
        reader = self._context.reader
        paused = reader.paused() if reader else {}
        if reader is None or not reader.resume(topic, number):
            there = ", ".join(f"{one}/{part}" for one, part in paused) or "none"
            raise HTTPException(404, f"{topic}/{number} is not paused here; paused are: {there}")
        # Whoever resumes looks at `/ready` next, sooner than it is looked after by itself.
        left = reader.paused()
        self._context.health.limp("paused", not left, "; ".join(left.values()))
        return paused[topic, number]
