"""Asks serving at a steady rate, whatever its answers do: `python -m tests.load.open_loop PORT PATH RATE SECONDS FEATURES OUT`.

A request is due at its time. What it waits for a free connection, or for this process, is part of how long its answer took:
nothing is left out because something earlier was slow (no coordinated omission). In a process of its own, which has little
else to do. Writes a JSON object to OUT: one list each of when requests were due (seconds), sent and answered (seconds after
that), and their status; 0 for what was no answer. FEATURES is a file with a JSON object a line.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self, cast

from tests.load import wire

CONNECTIONS: Final = 16
MOST_CONNECTIONS: Final = 64
NO_ANSWER: Final = 0
FIRST_AFTER_S: Final = 1.0
# Behind the last one: what is not answered by then is not answered.
ANSWERED_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One entry for each request."""

    due: list[float]
    sent_s: list[float]
    took_s: list[float]
    status: list[int]

    @classmethod
    def at(cls, due: list[float]) -> Self:
        """Nothing was asked yet."""
        return cls(due, [0.0] * len(due), [0.0] * len(due), [NO_ANSWER] * len(due))


class Connection(asyncio.Protocol):
    """Kept alive; asks one thing at a time."""

    def __init__(self, client: Client) -> None:
        self._client, self._read = client, b""
        self._transport: asyncio.WriteTransport | None = None
        self.asks: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._client.came(self)

    def ask(self, number: int, request: bytes) -> None:
        assert self._transport is not None
        self.asks = number
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found or len(body) < wire.body_length(head):
            return
        self._read = b""
        # An answer to another question is none.
        self._client.answered(self, int(head[9:12]) if f'"r{self.asks}"'.encode() in body else NO_ANSWER)
        self._client.came(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._client.lost(self)


class Client:
    """Due requests go out over whatever connection is free, else over the next that is; a server may hang up on idle ones."""

    def __init__(self, port: int, asked: Asked, requests: Sequence[bytes]) -> None:
        self._port, self._requests = port, requests
        self._free: list[Connection] = []
        self._waiting: deque[int] = deque()
        self._connections = self._answered = 0
        self._connecting: set[asyncio.Task[object]] = set()
        self._begun = 0.0
        self.asked = asked
        self.done = asyncio.Event()

    def begin(self) -> None:
        """Everything is asked at its time from now on."""
        loop, self._begun = asyncio.get_running_loop(), time.monotonic()
        for number, due in enumerate(self.asked.due):
            loop.call_at(self._begun + due, self.due, number)

    def connect(self) -> None:
        """One connection more will be there."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port))
        self._connections += 1
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def due(self, number: int) -> None:
        """Its time has come."""
        self._waiting.append(number)
        self._send()
        if self._waiting and self._connections < MOST_CONNECTIONS:
            self.connect()

    def came(self, connection: Connection) -> None:
        """It is free."""
        self._free.append(connection)
        self._send()

    def answered(self, connection: Connection, status: int) -> None:
        """What it asked."""
        number, connection.asks = connection.asks, None
        assert number is not None
        self.asked.took_s[number], self.asked.status[number] = self._since(number), status
        self._answered += 1
        if self._answered == len(self._requests):
            self.done.set()

    def lost(self, connection: Connection) -> None:
        """It asks nothing any more."""
        self._connections -= 1
        if connection.asks is not None:
            self.answered(connection, NO_ANSWER)
        elif connection in self._free:
            self._free.remove(connection)

    def _send(self) -> None:
        while self._waiting and self._free:
            number = self._waiting.popleft()
            self.asked.sent_s[number] = self._since(number)
            self._free.pop().ask(number, self._requests[number])

    def _since(self, number: int) -> float:
        return time.monotonic() - self._begun - self.asked.due[number]


def request(path: str, features: str, number: int) -> bytes:
    """As it goes over the wire; the prediction's id is its number's."""
    return wire.request(path, f'{{"features":{features},"prediction_id":"r{number}"}}'.encode())


async def ask(port: int, requests: Sequence[bytes], rate: float) -> Asked:
    """Everything was asked at its time, and answered. Raises TimeoutError when something is not in time."""
    client = Client(port, Asked.at([FIRST_AFTER_S + i / rate for i in range(len(requests))]), requests)
    for _ in range(CONNECTIONS):
        client.connect()
    client.begin()
    async with asyncio.timeout(FIRST_AFTER_S + len(requests) / rate + ANSWERED_WITHIN_S):
        await client.done.wait()
    return client.asked


def main(port: str, path: str, rate: str, seconds: str, features: str, out: str) -> None:
    """As the words say."""
    lines = Path(features).read_text().splitlines()
    count = round(float(rate) * float(seconds))
    requests = [request(path, lines[number % len(lines)], number) for number in range(count)]
    gc.freeze()
    asked = asyncio.run(ask(int(port), requests, float(rate)))
    Path(out).write_text(json.dumps(asdict(asked)))


if __name__ == "__main__":
    main(*sys.argv[1:])
