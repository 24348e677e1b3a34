"""Asks a service for more than it can do: `python -m tests.load.overload_driver`, a process of its own.

Reads one JSON object from stdin (`Orders`), drives, and writes what came of it as JSON. Asking goes on at its rate whatever is
answered, over as many connections as that takes: who must wait, or is refused, is followed by the next all the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import Final, cast

import numpy as np
import uvloop
from tests.load.slow_clients import Slow
from tests.load.wire import body_length

TICK_S: Final = 0.005
MAX_CONNECTIONS: Final = 600
LAST_ANSWERS_S: Final = 10.0
ANOTHER_TIME: Final = (429, 503)


@dataclass(frozen=True)
class Orders:
    """What to do."""

    port: int
    requests: list[str]
    seconds: float
    per_second: float
    """0: over `connections`, each its next question once the last was answered."""
    connections: int = 32
    slow_path: str = ""
    """Slow clients are there meanwhile, and send to it."""


@dataclass
class Outcome:
    """What came of it."""

    asked: int = 0
    unasked: int = 0
    """What was due and found no free connection."""
    statuses: dict[str, int] = field(default_factory=dict)
    without_when: int = 0
    """Refusals that did not say when to come again."""
    broken: int = 0
    """Connections that ended without an answer."""
    silent: int = 0
    """What was not answered 10 s after the last was asked."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    """Of the answers that were no refusals."""
    slow: dict[str, float] = field(default_factory=dict)


class Load:
    """The connections, and what they were told."""

    def __init__(self, orders: Orders) -> None:
        self.orders, self.outcome = orders, Outcome()
        self.free: list[Connection] = []
        self.open = 0
        self.waiting = 0
        self.took_s: list[float] = []
        self.next = cycle([request.encode() for request in orders.requests]).__next__
        self.over = False

    async def drive(self) -> None:
        """Asks for as long as it was told, and waits for the last answers."""
        began = time.perf_counter()
        if not self.orders.per_second:
            for _ in range(self.orders.connections):
                await self.connect()
        while (gone := time.perf_counter() - began) < self.orders.seconds:
            for _ in range(int(self.orders.per_second * gone) - self.outcome.asked - self.outcome.unasked):
                await self._ask_one()
            await asyncio.sleep(TICK_S)
        self.over = True
        while self.waiting and time.perf_counter() - began < self.orders.seconds + LAST_ANSWERS_S:  # noqa: ASYNC110  # answers come one by one
            await asyncio.sleep(TICK_S)
        self.outcome.silent = self.waiting
        if self.took_s:
            self.outcome.p50_ms, self.outcome.p99_ms = np.percentile(self.took_s, [50, 99]).round(4).tolist()

    async def connect(self) -> None:
        """One more connection asks."""
        self.open += 1
        try:
            await asyncio.get_running_loop().create_connection(lambda: Connection(self), "127.0.0.1", self.orders.port)
        except OSError:
            self.open -= 1
            self.outcome.broken += 1

    async def _ask_one(self) -> None:
        if self.free:
            self.free.pop().ask()
        elif self.open < MAX_CONNECTIONS:
            await self.connect()
        else:
            self.outcome.unasked += 1


class Connection(asyncio.Protocol):
    """Asks at once, then whenever it is told to; of its own accord where nobody tells."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._asking = False
        self._read = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self.ask()

    def ask(self) -> None:
        self._asking, self._asked_at = True, time.perf_counter()
        self._load.waiting += 1
        self._load.outcome.asked += 1
        self._transport.write(self._load.next())

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found or len(body) < body_length(head):
            return
        self._read = b""
        self._answered(int(head[9:12]), when=b"\r\nretry-after:" in head.lower())

    def connection_lost(self, error: Exception | None) -> None:
        self._load.open -= 1
        if self in self._load.free:
            self._load.free.remove(self)
        if self._asking:
            self._load.waiting -= 1
            self._load.outcome.broken += 1

    def _answered(self, status: int, *, when: bool) -> None:
        load = self._load
        self._asking = False
        load.waiting -= 1
        load.outcome.statuses[str(status)] = load.outcome.statuses.get(str(status), 0) + 1
        load.outcome.without_when += status in ANOTHER_TIME and not when
        if status not in ANOTHER_TIME:
            load.took_s.append((time.perf_counter() - self._asked_at) * 1e3)
        if load.over or load.orders.per_second:
            load.free.append(self)
        else:
            self.ask()


async def driven(orders: Orders) -> Outcome:
    """Load, and slow clients beside it."""
    load = Load(orders)
    slow = Slow(orders.port, orders.slow_path)
    holding = asyncio.create_task(slow.run()) if orders.slow_path else None
    await load.drive()
    if holding is not None:
        holding.cancel()
        await asyncio.wait({holding})
        load.outcome.slow = slow.lives()
    return load.outcome


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(driven(Orders(**json.load(sys.stdin)))))))
