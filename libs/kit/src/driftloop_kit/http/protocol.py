"""uvicorn's HTTP protocol with deadlines and bounds: who drips holds a connection no longer than it is worth."""

from __future__ import annotations

import asyncio
import resource
from heapq import nsmallest
from typing import Any, Final, Literal, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from driftloop_kit.http.errors import RETRY_AFTER_S
from driftloop_kit.http.room import EXPECTED, FULL, WATCHED_PATHS, Room

# From the connection, or from a request's first byte, to the end of its headers.
HEADERS_WITHIN_S: Final = 10.0
# A request that is still arriving is looked at so often; it must have brought as many bytes as this since.
BODY_LOOK_S: Final = 10.0
MIN_BYTES_A_LOOK: Final = 100 * 1024
MAX_HEADER_BYTES: Final = 32 * 1024
# Who was answered before all of its body had come may go on sending for so long, so that it reads the answer.
LINGER_S: Final = 5.0
# Below what a process may open, files and connections of other kinds besides.
MAX_CONNECTIONS: Final = min(2_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 7 // 10)
CLOSED_AT_ONCE: Final = 20
# Who came so lately may have asked already, unread yet on a busy machine; so many more may be there for its sake.
GRACE_S: Final = 3.0
GRACE_CONNECTIONS: Final = MAX_CONNECTIONS // 5
_SAID: Final = b'{"error":"%s"}' % FULL.encode()
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: %d\r\nretry-after: %d\r\n"
    % (len(_SAID), RETRY_AFTER_S)
)


class Protocol(HttpToolsProtocol):
    """A request that comes in one packet never meets a timer."""

    def __init__(self, *args: Any, room: Room, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._room = room
        self._timer: asyncio.TimerHandle | None = None
        self._part: Literal["none", "headers", "body"] = "none"
        self._bytes = 0
        self._served = False
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Its first request's headers are due. Beyond the most connections, those go that are worth least."""
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()
        self._timer = self.loop.call_later(HEADERS_WITHIN_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What has begun and is not complete is due."""
        self._bytes += len(data)
        super().data_received(data)
        if self._part == "headers" and self._bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too long.")
        if self._timer is None and self._part != "none":
            due = (HEADERS_WITHIN_S, self._give_up) if self._part == "headers" else (BODY_LOOK_S, self._look)
            self._timer = self.loop.call_later(*due)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._part = "headers"
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its body may take longer than its headers, as long as it makes progress."""
        self._part, self._bytes = "body", 0
        self._forget()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._part, self._bytes = "none", 0
        self._forget()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It was served. What still comes of the request is thrown away, for a while."""
        self._served, self._since = True, self.loop.time()
        if self._part == "body" and self.cycle.response_complete:
            self._forget()
            self._timer = self.loop.call_later(LINGER_S, self._close)
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Who would find no place is refused here and now: at a fifth of the cost, a crowd leaves time for those inside."""
        watched = cycle.scope["path"] in WATCHED_PATHS
        expected = cast(dict[str, Any], cycle.scope)[EXPECTED] = not watched and self._room.expect()
        # In the midst of a pipeline, and without a body to say it in, the guard refuses.
        if not (watched or expected or self.pipeline or cycle.scope["method"] == "HEAD"):
            self._refuse(cycle)
            return
        super()._start_asgi_task(cycle, app)

    def _refuse(self, cycle: RequestResponseCycle) -> None:
        self._room.refused()
        cycle.response_started = cycle.response_complete = True
        ending = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(_REFUSAL + ending + _SAID)
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def _make_room(self) -> None:
        """Who was never served goes before who was, who waits before who is being answered, the older before the newer."""
        young = 0.0 if len(self.connections) > MAX_CONNECTIONS + GRACE_CONNECTIONS else GRACE_S
        until = self.loop.time() - young
        others = [
            one for one in self.connections if isinstance(one, Protocol) and one is not self and one._since <= until
        ]
        least = nsmallest(CLOSED_AT_ONCE, others, key=Protocol._worth)
        for one in [one for one in least if not any(one._worth()[:2])] or least[:1]:
            self.connections.discard(one)
            one._close()

    def _worth(self) -> tuple[bool, bool, float]:
        busy = self.cycle is not None and not self.cycle.response_complete
        return (busy, self._served, self._since)

    def _look(self) -> None:
        ours = self.flow is not None and self.flow.read_paused
        if self._bytes < MIN_BYTES_A_LOOK and not ours:
            self._give_up()
            return
        self._bytes = 0
        self._timer = self.loop.call_later(BODY_LOOK_S, self._look)

    def _give_up(self) -> None:
        if self._part == "body" and not (self.cycle.response_started or self.transport.is_closing()):
            self.send_400_response("The request's body did not come as declared.")
        self._close()

    def _close(self) -> None:
        self._forget()
        self.transport.close()

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
