"""A balancer's connections to one replica, kept from request to request, in plain bytes: the machine is for those who answer."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final
from urllib.parse import urlsplit

# Long before the server closes one that is idle.
KEPT_S: Final = 2.0
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Upstream:
    """One replica."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self.url, self._host, self._port = url, place.hostname, place.port
        self._free: list[tuple[Connection, float]] = []

    async def post(self, path: str, body: dict[str, Any]) -> int:
        """The status of its answer. Raises OSError or EOFError when it hangs up."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        connection = await self._taken()
        whole = False
        try:
            connection[1].write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
            status, stays = await _answer(connection[0])
            whole = stays
        finally:
            if whole:
                self._free.append((connection, time.monotonic()))
            else:
                connection[1].close()
        return status

    def leave(self) -> None:
        """Nothing more will be asked for now: what is free is closed."""
        while self._free:
            self._free.pop()[0][1].close()

    async def _taken(self) -> Connection:
        """The last that was used, so that the others grow old."""
        if self._free and time.monotonic() - self._free[-1][1] < KEPT_S:
            return self._free.pop()[0]
        self.leave()
        return await asyncio.open_connection(self._host, self._port)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status, and whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
    return int(head.split(b" ", 2)[1]), b"connection: close" not in head
