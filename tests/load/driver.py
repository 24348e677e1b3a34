"""Asks a server over some connections, each its next question once the last was answered."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
from tests.load.wire import body_length

WITHIN_S: Final = 120.0


@dataclass
class Answers:
    """What came back."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0

    def percentile_ms(self, share: float) -> float:
        return float(np.percentile(self.seconds, share) * 1e3)


async def drive(port: int, requests: Sequence[bytes], connections: int) -> Answers:
    """Every request is answered once. Raises ConnectionError when the server hangs up."""
    answers, waiting = Answers(), deque(requests)
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda: _Connection(waiting, answers), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(*(one.run() for one in made))
    return answers


class _Connection(asyncio.Protocol):
    def __init__(self, waiting: deque[bytes], answers: Answers) -> None:
        self._waiting, self._answers = waiting, answers
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.WriteTransport | None = None
        self._read = b""

    async def run(self) -> None:
        self._next()
        await self._done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found or len(body) < body_length(head):
            return
        self._answers.seconds.append(time.perf_counter() - self._asked_at)
        self._answers.refused += not head.startswith(b"HTTP/1.1 200")
        self._read = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server hung up"))

    def _next(self) -> None:
        assert self._transport is not None
        if self._waiting:
            self._asked_at = time.perf_counter()
            self._transport.write(self._waiting.popleft())
        elif not self._done.done():
            self._done.set_result(None)
            self._transport.close()
