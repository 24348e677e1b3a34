"""A network that can be bad between two processes: a TCP proxy with faults, which knows where messages begin."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tests.faults.framing import TO_CLIENT, TO_SERVER, Framing, Piece, Side
from tests.faults.link import Link

FRAMES_KEPT: Final = 100_000


@dataclass(frozen=True, slots=True)
class Cut:
    """A connection is reset after so many bytes of the frame of this number, counted over all connections."""

    side: Side
    frame: int
    byte: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One that has begun to pass."""

    side: Side
    head: bytes
    """Its first bytes, at most eight."""
    length: int


class Proxy:
    """Listens while the block runs. Faults hold for every connection, also for those that are there already."""

    def __init__(
        self, behind: tuple[str, int], framing: Callable[[], Framing], *, port: int = 0, seed: int = 0
    ) -> None:
        """behind: host and port that are meant; framing: makes what knows one connection's messages."""
        self.behind, self.framing, self.port = behind, framing, port
        self.delay_s = 0.0
        """How long every chunk takes, each way; order is kept."""
        self.jitter_s = 0.0
        """At most so much longer, by chance."""
        self.frames: deque[Frame] = deque(maxlen=FRAMES_KEPT)
        """What has passed, newest last."""
        self.waits_s: list[float] = []
        """Of clients that left unanswered: how long they had waited."""
        self.cuts_made = 0
        self._chance = random.Random(seed)
        self._begun: dict[Side, int] = {TO_SERVER: 0, TO_CLIENT: 0}
        self._cuts: list[Cut] = []
        self._links: set[Link] = set()
        self._passing = asyncio.Event()
        self._passing.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._linked, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.close()
        self.reset()
        await asyncio.gather(*(link.ended.wait() for link in self._links))

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Nothing passes and nobody is told. Afterwards all goes on where it stood, as when a cable is put back.

        New connections are taken, as by a firewall that answers for whom it hides, and hear nothing.
        """
        self._passing.clear()
        try:
            yield
        finally:
            self._passing.set()

    def reset(self) -> int:
        """RST to both ends of every connection; how many there were."""
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    def half_close(self, side: Side) -> None:
        """FIN on this side of every connection; the other side goes on."""
        for link in self._links:
            link.finish(side)

    def cut(self, side: Side, frame: int, byte: int) -> None:
        """Whichever connection has the frame-th frame from now on this side is reset after so many bytes of it."""
        self._cuts.append(Cut(side, self._begun[side] + frame, byte))

    @property
    def links(self) -> int:
        """Connections that are open."""
        return len(self._links)

    def longest_wait_s(self) -> float:
        """How long a client waits, or has waited until it left, at most, without having been answered."""
        now = time.monotonic()
        waiting = [now - link.asked_at for link in self._links if link.asked_at is not None]
        return max([*waiting, *self.waits_s], default=0.0)

    async def let_through(self) -> None:
        """The delay is over, and no hole is in the way."""
        if late_s := self.delay_s + self._chance.uniform(0, self.jitter_s):
            await asyncio.sleep(late_s)
        await self._passing.wait()

    def number(self, side: Side, piece: Piece) -> int:
        """The number of a frame that begins, over all connections."""
        self.frames.append(Frame(side, piece.data[:8], piece.length))
        self._begun[side] += 1
        return self._begun[side] - 1

    def cut_in(self, side: Side, number: int, piece: Piece) -> int | None:
        """After how many bytes of the piece its connection is reset; None: it passes. A cut happens once."""
        for cut in self._cuts:
            if (cut.side, cut.frame) == (side, number) and piece.at <= cut.byte < piece.at + len(piece.data):
                self._cuts.remove(cut)
                self.cuts_made += 1
                return cut.byte - piece.at
        return None

    async def _linked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
