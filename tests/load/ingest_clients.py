"""Outside producers that send batches of events to Kafka at a steady rate, whatever became of the earlier ones.

An event's latency runs from the moment at which it was due to its ack: what a stalled producer had to wait counts for each.
The account is written beside that, many lines to a sync: before a batch is due, and after it was acked.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from tests.faults.account import Account, State
from tests.load.costs import small_heap
from tests.load.ingest_world import MODELS, record

from driftloop.producer import AsyncProducer
from driftloop_bus.errors import TryAgain

BATCH: Final = 22
EACH_S: Final = 0.08
"""With four clients 1,100 events a second."""
# A batch is made and written down so long before it is due.
AHEAD_S: Final = 0.8


@dataclass
class Kept:
    """The account's lines of many batches, synced together: one sync after the other, none in the way of a send."""

    account: Account
    _waiting: list[tuple[str, range, State, asyncio.Future[None]]] = field(default_factory=list)
    _writer: asyncio.Task[None] | None = None

    async def tell(self, model: str, numbers: range, state: State) -> None:
        """On the disk when it returns."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((model, numbers, state, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await written

    async def _write_all(self) -> None:
        while self._waiting:
            batches, self._waiting = self._waiting, []
            lines = [
                (model, model, number, f"{model}:{number}", state)
                for model, numbers, state, _ in batches
                for number in numbers
            ]
            await asyncio.to_thread(self.account.write, lines)
            for *_, written in batches:
                written.set_result(None)


@dataclass
class Clients:
    """One for each model."""

    kafka: str
    kept: Kept
    latencies_s: list[float] = field(default_factory=list)
    """One for each event."""
    sent_again: int = 0
    """Events that were not acked in time: they may stand on the topic twice, and in its copy."""
    unmade: int = 0
    """Batches that were not written down when they were due, and so were sent later: their latency begins there."""

    async def send(self, seconds: float) -> float:
        """Returns when all was acked: events that were acked a second, from the first due moment to the last ack."""
        async with AsyncExitStack() as stack:
            producers = [await stack.enter_async_context(AsyncProducer(model, self.kafka)) for model in MODELS]
            for model, producer in zip(MODELS, producers, strict=True):
                # The first send looks up where its topic is; it is no event of the stream.
                await self._batch(producer, model, range(-BATCH, 0), time.perf_counter())
            self.latencies_s.clear()
            with small_heap():
                began = time.perf_counter() + 2 * AHEAD_S
                async with asyncio.TaskGroup() as group:
                    for place, model in enumerate(MODELS):
                        first_at = began + place * EACH_S / len(MODELS)
                        group.create_task(
                            self._stream(group, producers[place], model, first_at, round(seconds / EACH_S))
                        )
            return len(self.latencies_s) / (time.perf_counter() - began)

    async def _stream(
        self, group: asyncio.TaskGroup, producer: AsyncProducer, model: str, began: float, batches: int
    ) -> None:
        for batch in range(batches):
            due = began + batch * EACH_S
            await asyncio.sleep(due - AHEAD_S - time.perf_counter())
            group.create_task(self._batch(producer, model, range(batch * BATCH, (batch + 1) * BATCH), due))

    async def _batch(self, producer: AsyncProducer, model: str, numbers: range, due: float) -> None:
        records = [record(model, number) for number in numbers]
        await self.kept.tell(model, numbers, "attempt")
        ready = time.perf_counter()
        self.unmade += numbers.start >= 0 and ready > due
        await asyncio.sleep(due - ready)
        acked = False
        while not acked:
            try:
                await producer.send_records(records)
                acked = True
            except TryAgain:
                self.sent_again += len(numbers)
                await self.kept.tell(model, numbers, "indefinite")
        self.latencies_s += [time.perf_counter() - max(due, ready)] * len(numbers)
        await self.kept.tell(model, numbers, "ok")

    def percentile_ms(self, share: float) -> float:
        """Of all events."""
        return round(float(np.percentile(self.latencies_s, share)) * 1e3, 1)
