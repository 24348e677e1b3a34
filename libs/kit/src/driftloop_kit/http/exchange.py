"""One request and its answer, as the guard sees them pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from driftloop_kit.http.errors import RETRY_AFTER_S
from driftloop_kit.http.room import MAX_HELD_EACH, Full, Room

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Send

ANOTHER_TIME: Final = (429, 503)


class Exchange:
    """Counts what comes in, remembers what went out, and takes its place in the room meanwhile.

    A request is worked for from the moment at which all of it is here until its answer begins: an answer may be a stream
    without an end.
    """

    __slots__ = (
        "_given_up", "_holds", "_receive", "_room", "_send", "_task", "_waits", "_works", "held_bytes", "left", "status",
        "whole",
    )  # fmt: skip

    def __init__(self, receive: Receive, send: Send, room: Room) -> None:
        self._receive = receive
        self._send = send
        self._room = room
        self._holds = self._waits = self._works = self._given_up = False
        self._task: asyncio.Task[object] | None = None
        self.held_bytes = 0
        self.left: int | None = None
        """Bytes that the body may still have; None when there is no body."""
        self.status = 0
        """0 until the answer has begun."""
        self.whole = False
        """Whether all of the answer went out."""

    def arrive(self, limit: int) -> None:
        """A body of so many bytes at most will come. Raises HTTPException 503 when it would be in vain."""
        self._room.look()
        self.left, self._holds = limit, limit <= MAX_HELD_EACH
        self._task = asyncio.current_task()
        self._room.arrive(self)

    def work(self) -> None:
        """All of the request is here. Raises HTTPException 503 when there is no place."""
        self._room.work()
        self._works = True

    async def receive(self) -> Message:
        """As the server's. Raises HTTPException: 413 beyond the limit, 503 without a place, 400 when the rest never comes."""
        if self._given_up:
            raise Full
        self._waits = True
        message = await self._receive()
        self._waits = False
        if message["type"] == "http.request":
            self._take(len(message.get("body", b"")), more=message.get("more_body", False))
        elif not (self._works or self.status):
            raise HTTPException(400, "the body did not come as declared")
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """As the server's; whoever is told to come another time is told when."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._rest()
            if self.status in ANOTHER_TIME:
                _say_when(message)
        else:
            self.whole = not message.get("more_body", False)
        return self._send(message)

    def give_up(self) -> None:
        """It ends with 503, now if it waits for its body."""
        self._given_up = True
        if self._waits and self._task is not None:
            self._task.cancel()

    def was_given_up(self) -> bool:
        """Whether it was `give_up` that has cancelled it, and the answer has not begun; it may go on then."""
        if not self._given_up or self.status or self._task is None:
            return False
        return self._task.uncancel() == 0

    def end(self) -> None:
        """It takes no place any more."""
        self._rest()
        self._room.arrived(self)
        self._room.forget(self)

    def _take(self, size_bytes: int, *, more: bool) -> None:
        if self.left is None or self._works or self.status:
            return
        self.left -= size_bytes
        if self.left < 0:
            # What still comes is thrown away unread: closing under a caller that sends would hide the answer.
            raise HTTPException(413, "the body is too large")
        if self._holds:
            self._room.hold(self, size_bytes)
        if not more:
            self._room.arrived(self)
            self.work()

    def _rest(self) -> None:
        if self._works:
            self._works = False
            self._room.rest()


def _say_when(message: Message) -> None:
    headers = list(message.get("headers", ()))
    if not any(name.lower() == b"retry-after" for name, _ in headers):
        message["headers"] = [*headers, (b"retry-after", b"%d" % RETRY_AFTER_S)]
