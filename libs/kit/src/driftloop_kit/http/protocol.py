"""uvicorn's HTTP protocol with deadlines: who drips holds a connection no longer than it is worth."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# From the connection, or from a request's first byte, to the end of its headers.
HEADERS_WITHIN_S: Final = 10.0
# A request that is still arriving is looked at so often; it must have brought as many bytes as this since.
BODY_LOOK_S: Final = 10.0
MIN_BYTES_A_LOOK: Final = 100 * 1024


class Protocol(HttpToolsProtocol):
    """A request that comes in one packet never meets a timer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._part: Literal["none", "headers", "body"] = "none"
        self._bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Its first request's headers are due."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEADERS_WITHIN_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What has begun and is not complete is due."""
        self._bytes += len(data)
        super().data_received(data)
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
        self._part = "none"
        self._forget()
        super().on_message_complete()

    def _look(self) -> None:
        ours = self.flow is not None and self.flow.read_paused
        if self._bytes < MIN_BYTES_A_LOOK and not ours:
            self._give_up()
            return
        self._bytes = 0
        self._timer = self.loop.call_later(BODY_LOOK_S, self._look)

    def _give_up(self) -> None:
        self._timer = None
        self.transport.close()

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
