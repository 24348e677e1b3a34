"""What exactly-once costs: the consumer loop with the ledger, beside the same loop without one, at batches of 1,000."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import asyncpg
import pytest
import uvloop
from tests.load.costs import FULL, Cell, Table, cpu_of_family_s, scale, small_heap
from tests.load.world import Model, Stretch, fill

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.observer import Note
from driftloop_bus.ports import Claim, Ledger, Outbox, Outgoing, TopicPartition
from driftloop_bus.runner import Runner, on_batch
from driftloop_contracts import AnyEvent
from driftloop_contracts.topics import PREDICTIONS
from driftloop_kit.database import open_database
from driftloop_kit.ledger import PostgresLedger
from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack
BATCH: Final = 1_000
WITH: Final = "runner with the ledger"
WITHOUT: Final = "the same runner, nothing kept"
WITHIN_S: Final = 120.0
# What exactly-once may cost the loop that has it. Measured with `DRIFTLOOP_BENCH=full`, in pairs of runs beside each other.
PROMISED: Final = 1.3
# Of a run that only tries everything out: this stops what is plainly broken, such as a statement for each record.
SANE: Final = 4.0
# One pair settles nothing beside other load: the middle of so many does.
ROUNDS: Final = 9 if scale() is FULL else 1
EVENTS: Final = 20_000 if scale() is FULL else 2_000


class NoTransaction:
    """Everything is new, nothing is kept."""

    connection: Any = None

    async def unseen(self, ids: Sequence[str]) -> list[bool]:
        return [True] * len(ids)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        assert not records

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        yield


class NoLedger:
    """The port of a ledger, and none behind it."""

    def __init__(self, begin: Mapping[TopicPartition, int]) -> None:
        self._begin = begin

    @property
    def outbox(self) -> Outbox:
        raise NotImplementedError("nothing is published in this loop")

    async def claim(self, topic: str, partition: int) -> Claim:
        return Claim(topic, partition, 1, self._begin[topic, partition])

    async def release(self, claim: Claim) -> None:
        pass

    async def begin_alone(self, claim: Claim) -> None:
        pass

    async def current(self, claim: Claim) -> Claim:
        return claim

    def batch(self, claim: Claim, start: int, end: int) -> AbstractAsyncContextManager[NoTransaction]:
        return _nothing()

    def transaction(self) -> AbstractAsyncContextManager[NoTransaction]:
        return _nothing()


@asynccontextmanager
async def _nothing() -> AsyncIterator[NoTransaction]:
    yield NoTransaction()


class Reader:
    """A handler that only looks at its batch: whatever a real one does would make the ledger look cheaper."""

    def __init__(self, _: object) -> None:
        pass

    async def on_predictions(self, batch: PredictionBatch) -> list[AnyEvent]:
        assert len(batch) <= BATCH
        return []


class Meter:
    """The runner's observer: CPU from the end of the first slice to the end of the last."""

    def __init__(self, end: int, database_pid: int) -> None:
        self._end, self._database_pid = end, database_pid
        self.done = asyncio.Event()
        self.records: list[int] = []
        """Of each slice."""

    def note(self, note: Note) -> None:
        assert note.kind in ("claimed", "handled", "hint_lost"), note
        if note.kind != "handled":
            return
        self.records.append(note.records)
        if len(self.records) == 1:
            self.own_s, self.database_s = time.process_time(), cpu_of_family_s(self._database_pid)
        if note.offset >= self._end:
            self.own_s = time.process_time() - self.own_s
            self.database_s = cpu_of_family_s(self._database_pid) - self.database_s
            self.done.set()

    @property
    def cell(self) -> Cell:
        measured = sum(self.records[1:])
        return Cell(self.own_s * 1e6 / measured, self.database_s * 1e6 / measured)


def test_the_loop_with_the_ledger_beside_the_same_loop_without(
    stack: LocalStack, kafka: str, service_database: Callable[[str], str]
) -> None:
    url, postgres = service_database("monitor"), stack.pid("postgres")
    stretch = uvloop.run(_filled(kafka))
    begin = uvloop.run(_begin(kafka, stretch))
    table = Table("consumer loop, JSON, 20 features, batches of up to 1,000", WITHOUT)
    for turn in range(ROUNDS):
        # Each of the two goes first as often: what a machine does to the second is no matter of the ledger.
        for row in (WITHOUT, WITH) if turn % 2 else (WITH, WITHOUT):
            with small_heap():
                meter = uvloop.run(_loop(kafka, url if row == WITH else "", begin, stretch, postgres))
            assert sum(meter.records) == stretch.end - stretch.start
            table.add(row, meter.cell)
    table.title += f", {sum(meter.records) / len(meter.records):.0f} on average"
    table.show()
    ratios = sorted(one.cpu_us / other.cpu_us for one, other in zip(table.rows[WITH], table.rows[WITHOUT], strict=True))
    print(
        f"the loop with the ledger over the one without, pair by pair: {' '.join(f'{ratio:.2f}' for ratio in ratios)}"
    )
    assert statistics.median(ratios) <= (PROMISED if scale() is FULL else SANE)


async def _filled(kafka: str) -> Stretch:
    log = KafkaLog(kafka, "load")
    try:
        predictions = [one for one in Model("json", partition=2).next(EVENTS + BATCH) if one.topic == PREDICTIONS.name]
        (stretch,) = await fill(log, predictions)
        return stretch
    finally:
        await log.close()


async def _begin(kafka: str, stretch: Stretch) -> dict[TopicPartition, int]:
    """Where a loop begins: only the stretch is left to read."""
    log = KafkaLog(kafka, "load")
    try:
        ends = await log.end_offsets([PREDICTIONS.name])
        return ends | {(stretch.topic, stretch.partition): stretch.start}
    finally:
        await log.close()


async def _loop(
    kafka: str, url: str, begin: Mapping[TopicPartition, int], stretch: Stretch, database_pid: int
) -> Meter:
    """One run over the stretch, in a group of its own; with a ledger if there is an address."""
    group, log, meter = f"load-{uuid.uuid4().hex[:8]}", KafkaLog(kafka, "load"), Meter(stretch.end, database_pid)
    ledger: Ledger = NoLedger(begin)
    database = await open_database(url) if url else None
    if database:
        await _place(url, group, begin)
        ledger = PostgresLedger(database, group)
    routes = [on_batch(PREDICTIONS, Reader.on_predictions)]
    runner = Runner("monitor", group, log, ledger, Reader, routes, observe=meter.note, max_records=BATCH)
    running = asyncio.create_task(runner.run())
    try:
        await asyncio.wait_for(meter.done.wait(), WITHIN_S)
    finally:
        runner.stop()
        await running
        await log.close()
        if database:
            await database.close()
    return meter


async def _place(url: str, group: str, begin: Mapping[TopicPartition, int]) -> None:
    """The group begins there, and has seen nothing."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DELETE FROM inbox")
        await connection.executemany(
            "INSERT INTO consumer_offset (grp, topic, part, epoch, next_offset) VALUES ($1, $2, $3, 0, $4)",
            [(group, *place, offset) for place, offset in begin.items()],
        )
    finally:
        await connection.close()
