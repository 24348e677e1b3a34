"""CPU per event of the monitor as it ships, beside loops that people write by hand over the same records."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest
import uvloop
from tests.load.costs import Cell, Table, cpu_of_family_s, cpu_s, scale
from tests.load.plain_loops import ADWINS, FLOOR, ROWS, cpu_of
from tests.load.world import Model, Stretch, fill, reference

from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.outgoing import PACKED_ROWS
from driftloop_bus.ports import Outgoing
from driftloop_bus.routes import reads
from driftloop_kit.testing import ServiceProcess, running
from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack
OURS = "monitor: its process"
# The loop by hand keeps nothing and joins nothing. Three to five times its CPU is what was measured: beyond this the path
# has become something else, and a busy machine explains no such thing within one run.
MOST = 15.0
LOOK_S = 0.02
WITHIN_S = 120.0


class Watched:
    """A running monitor that knows two models, one for each form of records."""

    def __init__(self, running: ServiceProcess, stack: LocalStack, models: Sequence[Model]) -> None:
        self.running = running
        self.models = models
        self._postgres = stack.pid("postgres")

    async def consume(self, log: KafkaLog, records: Sequence[Outgoing]) -> tuple[list[Stretch], float, float]:
        """Where the records went, and the seconds of CPU that they cost: the monitor's own, and its database's.

        The monitor stands still while they are produced, so that it finds all of them and reads in whole batches.
        """
        self.running.process.send_signal(signal.SIGSTOP)
        try:
            stretches = await fill(log, records)
            connection = await asyncpg.connect(self.running.database_url)
            mine = {connection.get_server_pid()}
            database, own = cpu_of_family_s(self._postgres, mine), cpu_s(self.running.process.pid)
        finally:
            self.running.process.send_signal(signal.SIGCONT)
        try:
            await _until(lambda: _passed(connection, stretches), f"done: {self.running.log_tail()}")
            own = cpu_s(self.running.process.pid) - own
            database = cpu_of_family_s(self._postgres, mine) - database
        finally:
            await connection.close()
        return stretches, own, database

    async def count(self) -> tuple[int, int]:
        """Predictions and outcomes that are kept."""
        connection = await asyncpg.connect(self.running.database_url)
        try:
            return await connection.fetchval("SELECT count(*) FROM prediction"), await connection.fetchval(
                "SELECT count(*) FROM outcome"
            )
        finally:
            await connection.close()


@pytest.fixture
def watched(stack: LocalStack, kafka: str, service_database: Callable[[str], str], tmp_path: Path) -> Iterator[Watched]:
    """Both models are declared, deployed and known by their training rows; no data was read yet."""
    models = [Model("json", partition=0), Model("packed", partition=1)]
    url = service_database("monitor")
    uvloop.run(_prepare(url, kafka, tmp_path, models))
    with running("monitor", kafka, tmp_path, url) as monitor:
        uvloop.run(_begin(url, len(models)))
        yield Watched(monitor, stack, models)


def test_the_monitors_path(watched: Watched, kafka: str) -> None:
    tables = [_table(model) for model in watched.models]
    for _ in range(scale().rounds):
        for model, table in zip(watched.models, tables, strict=True):
            events = scale().packed * PACKED_ROWS if model.form == "packed" else scale().events
            stretches, own_s, database_s = uvloop.run(_consumed(watched, kafka, model.next(events)))
            for row in ROWS:
                table.add(row, Cell(cpu_of(row, kafka, model.form, stretches) * 1e6 / (2 * events)))
            table.add(OURS, Cell(own_s * 1e6 / (2 * events), database_s * 1e6 / (2 * events)))
    for table in tables:
        table.show()
    sent = sum(model.made for model in watched.models)
    assert uvloop.run(watched.count()) == (sent, sent)
    for table in tables:
        assert 1 < table.ratio(OURS, ADWINS) < MOST


def _table(model: Model) -> Table:
    return Table(f"monitor's path, {model.form}, 20 features, predictions and outcomes", OURS, FLOOR)


async def _consumed(watched: Watched, kafka: str, records: Sequence[Outgoing]) -> tuple[list[Stretch], float, float]:
    log = KafkaLog(kafka, "load")
    try:
        return await watched.consume(log, records)
    finally:
        await log.close()


async def _prepare(url: str, kafka: str, folder: Path, models: Sequence[Model]) -> None:
    """The monitor will begin where its topics end now: what other tests left there costs it nothing."""
    log, connection = KafkaLog(kafka, "load"), await asyncpg.connect(url)
    try:
        ends = await log.end_offsets([topic.name for topic in reads("monitor")])
        rows = [("monitor", topic, partition, 0, end) for (topic, partition), end in ends.items()]
        await connection.executemany(
            "INSERT INTO consumer_offset (grp, topic, part, epoch, next_offset) VALUES ($1, $2, $3, $4, $5)", rows
        )
        digest = await reference(ArtifactStore.open((folder / "artifacts").as_uri()))
        events = [event for model in models for event in (model.declared(), model.deployed(digest))]
        producer = await log.producer()
        await producer.send([encode(event, "registry") for event in events])
    finally:
        await connection.close()
        await log.close()


async def _begin(url: str, models: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await _until(lambda: _knows(connection, models), "known: deployments and training rows")
    finally:
        await connection.close()


async def _knows(connection: asyncpg.Connection, models: int) -> bool:
    deployed = await connection.fetchval("SELECT count(*) FROM deployment")
    return bool(deployed == models and await connection.fetchval("SELECT count(*) FROM reference"))


async def _passed(connection: asyncpg.Connection, stretches: Sequence[Stretch]) -> bool:
    rows = await connection.fetch("SELECT topic, part, next_offset FROM consumer_offset WHERE grp = 'monitor'")
    reached = {(row["topic"], row["part"]): row["next_offset"] for row in rows}
    return all(reached[one.topic, one.partition] >= one.end for one in stretches)


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not {what}")
        await asyncio.sleep(LOOK_S)
