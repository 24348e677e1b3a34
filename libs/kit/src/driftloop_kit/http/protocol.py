"""uvicorn's HTTP protocol with deadlines and bounds: who drips holds a connection no longer than it is worth."""

from __future__ import annotations

import asyncio
import resource
from heapq import nsmallest
from typing import Any, Final, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# From the connection, or from a request's first byte, to the end of its headers.
HEADERS_WITHIN_S: Final = 10.0
# A request that is still arriving is looked at so often; it must have brought as many bytes as this since.
BODY_LOOK_S: Final = 10.0
MIN_BYTES_A_LOOK: Final = 100 * 1024
MAX_HEADER_BYTES: Final = 32 * 1024
# Who was answered before all of its body had come may go on sending for so long, so that it reads the answer.
LINGER_S: Final = 5.0
# Below what a process may open by default, files and connections of other kinds besides.
MAX_CONNECTIONS: Final = min(800, resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 3 // 4)
CLOSED_AT_ONCE: Final = 20


class Protocol(HttpToolsProtocol):
    """A request that comes in one packet never meets a timer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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

    def _make_room(self) -> None:
        """Who is being answered stays before who waits, who was served before who never was, the newer before the older."""
        others = [one for one in self.connections if one is not self and isinstance(one, Protocol)]
        for one in nsmallest(CLOSED_AT_ONCE, others, key=Protocol._worth):
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
