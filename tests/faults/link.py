"""One connection through the proxy. It reads at once and lets through when it may: so it knows since when somebody waits."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING, Final

from tests.faults.framing import TO_CLIENT, TO_SERVER, Piece, Side, Splitter

if TYPE_CHECKING:
    from tests.faults.proxy import Proxy

CHUNK: Final = 65536
# What somebody can have sent into a hole before the kernel takes no more.
WINDOW_CHUNKS: Final = 64
# Closing says RST instead of FIN.
AT_ONCE: Final = struct.pack("ii", 1, 0)


# The other end has read what came before the reset: a reset overtakes bytes.
READ_S: Final = 0.02
Chunks = asyncio.Queue[bytes | None]


class Link:
    """From a client to what is behind the proxy."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._reader = proxy, reader
        self._writers: dict[Side, asyncio.StreamWriter] = {TO_CLIENT: writer}
        framing = proxy.framing()
        self._splitters: dict[Side, Splitter] = {
            TO_SERVER: Splitter(framing, TO_SERVER),
            TO_CLIENT: Splitter(framing, TO_CLIENT),
        }
        self._numbers: dict[Side, int] = {}
        self._finished: set[Side] = set()
        self._talk: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self.asked_at: float | None = None
        """When its client sent the first byte that nothing came back for; None: it has been answered."""

    async def run(self) -> None:
        """Returns when both sides have ended, or one of them broke: then both are reset."""
        self._talk = asyncio.create_task(self._talked())
        await asyncio.wait({self._talk})
        broken = self._talk.cancelled() or self._talk.exception() is not None
        self._left()
        for writer in self._writers.values():
            if broken:
                _close_at_once(writer)
            writer.close()
        self.ended.set()

    def reset(self) -> None:
        """RST to both ends."""
        if self._talk is not None:
            self._talk.cancel()

    def finish(self, side: Side) -> None:
        """FIN on this side; what still comes for it is thrown away."""
        if side in self._writers:
            self._finished.add(side)
            self._writers[side].write_eof()

    async def _talked(self) -> None:
        there, back = Chunks(WINDOW_CHUNKS), Chunks(WINDOW_CHUNKS)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(TO_SERVER, self._reader, there))
            await self._proxy.let_through()
            reader, self._writers[TO_SERVER] = await asyncio.open_connection(*self._proxy.behind)
            group.create_task(self._write(TO_SERVER, there))
            group.create_task(self._read(TO_CLIENT, reader, back))
            group.create_task(self._write(TO_CLIENT, back))

    async def _read(self, side: Side, reader: asyncio.StreamReader, chunks: Chunks) -> None:
        """What comes, at once: only so it is known since when somebody waits. b"" is a FIN, None a RST."""
        chunk: bytes | None = b"begin"
        while chunk:
            try:
                chunk = await reader.read(CHUNK)
            except ConnectionError:
                chunk = None
            if side == TO_SERVER:
                self._asked() if chunk else self._left()
            await chunks.put(chunk)

    async def _write(self, side: Side, chunks: Chunks) -> None:
        """What was read goes on, as soon as it may."""
        while chunk := await chunks.get():
            await self._proxy.let_through()
            for piece in self._splitters[side].feed(chunk):
                await self._pass(side, piece)
            if side == TO_CLIENT:
                self.asked_at = None
            await self._writers[side].drain()
        await self._proxy.let_through()
        if chunk is None:
            raise ConnectionResetError("by the other end")
        self._send(side, self._splitters[side].rest())
        self.finish(side)

    async def _pass(self, side: Side, piece: Piece) -> None:
        if piece.at == 0:
            self._numbers[side] = self._proxy.number(side, piece)
        upto = self._proxy.cut_in(side, self._numbers[side], piece)
        self._send(side, piece.data[:upto])
        if upto is not None:
            await self._writers[side].drain()
            await asyncio.sleep(READ_S)
            raise ConnectionResetError("cut")

    def _send(self, side: Side, data: bytes) -> None:
        if side not in self._finished and not self._writers[side].is_closing():
            self._writers[side].write(data)

    def _asked(self) -> None:
        if self.asked_at is None:
            self.asked_at = time.monotonic()

    def _left(self) -> None:
        if self.asked_at is not None:
            self._proxy.waits_s.append(time.monotonic() - self.asked_at)
            self.asked_at = None


def _close_at_once(writer: asyncio.StreamWriter) -> None:
    if (open_socket := writer.get_extra_info("socket")).fileno() >= 0:
        open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()
