"""Clients that take and give nothing: they drip headers and bodies, send chunks without an end, hold connections."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Final

HEAD: Final = "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
LENGTH: Final = "content-length: 900000\r\n\r\n"
CHUNKED: Final = "transfer-encoding: chunked\r\n\r\n"
CHUNK: Final = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
# Above what a body must bring to be waited for.
BRISK: Final = b"x" * 12_000


async def headers(path: str) -> AsyncIterator[bytes]:
    """One a second, never all."""
    yield HEAD.format(path=path).encode()
    while True:
        await asyncio.sleep(1)
        yield b"a: b\r\n"


async def body(path: str) -> AsyncIterator[bytes]:
    """A byte a second."""
    yield (HEAD.format(path=path) + LENGTH).encode()
    while True:
        await asyncio.sleep(1)
        yield b" "


async def brisk_body(path: str) -> AsyncIterator[bytes]:
    """As fast as a body must be, and no faster."""
    yield (HEAD.format(path=path) + LENGTH).encode()
    while True:
        await asyncio.sleep(1)
        yield BRISK


async def chunks(path: str) -> AsyncIterator[bytes]:
    """Without an end."""
    yield (HEAD.format(path=path) + CHUNKED).encode()
    while True:
        await asyncio.sleep(0.1)
        yield CHUNK


async def nothing(path: str) -> AsyncIterator[bytes]:
    """A connection that is held."""
    while True:
        await asyncio.sleep(1)
        yield b""


KINDS: Final[dict[Callable[[str], AsyncIterator[bytes]], int]] = {
    headers: 100, body: 100, brisk_body: 40, chunks: 20, nothing: 300,
}  # fmt: skip


class Slow:
    """So many of each kind; whoever is cut off comes again."""

    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path
        self._lived_s: dict[str, list[float]] = defaultdict(list)

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            for kind, count in KINDS.items():
                for _ in range(count):
                    group.create_task(self._again(kind))

    def lives(self) -> dict[str, float]:
        """The longest time that one of each kind was let be, of those that were cut off."""
        return {kind: round(max(lived), 1) for kind, lived in self._lived_s.items()}

    async def _again(self, kind: Callable[[str], AsyncIterator[bytes]]) -> None:
        while True:
            began = time.perf_counter()
            try:
                await self._live(kind)
            except OSError:
                pass
            self._lived_s[kind.__name__].append(time.perf_counter() - began)
            await asyncio.sleep(0.5)

    async def _live(self, kind: Callable[[str], AsyncIterator[bytes]]) -> None:
        """Returns or raises OSError when it was cut off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        ended = asyncio.create_task(_until_end(reader))
        try:
            async for piece in kind(self._path):
                if ended.done() or writer.is_closing():
                    break
                writer.write(piece)
                await writer.drain()
        finally:
            ended.cancel()
            writer.transport.abort()


async def _until_end(reader: asyncio.StreamReader) -> None:
    """The other side has closed; what it said is no matter."""
    try:
        while await reader.read(65536):
            pass
    except OSError:
        pass
