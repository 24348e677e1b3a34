"""L4: a monitor whose database slows it down to a tenth of its speed, while events come faster than that.

It must not gather them in memory, must say how far behind it is, and must catch up afterwards with every event counted once.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import psutil
import pytest
from tests.faults.account import Account
from tests.faults.reading import asked, ends, rows, until_read
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.verdict import Effect, judge
from tests.load.flow import BATCH, Flow, declared, lines_of
from tests.load.watching import MIB, metrics

from driftloop_bus.kafka import KafkaLog
from driftloop_bus.testing import everything, publish
from driftloop_contracts.loop import MeasurementTaken
from driftloop_contracts.topics import DEPLOYMENTS, MEASUREMENTS, PREDICTIONS
from driftloop_kit.testing import ServiceProcess, running
from driftloop_local.databases import in_database
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]
SLOW_S: Final = {"whole": 600.0, "fast": 50.0}
# Of its own speed; events come more than three times as fast as it then is, and hardly load the machine.
SLOWED_TO: Final = 0.1
COME_AT: Final = 0.35
AT_FULL_SPEED: Final = 100
"""Batches of each client by which the full speed is measured."""
LOOK_EACH_S: Final = 1.0
# The service's look at the log's ends is half a second old, more where a batch keeps its loop busy: too much for few seconds.
COMPARED_FROM_S: Final = 30.0
WITHIN_S: Final = 900.0
# As a database does whose disk has become slow: each row of a batch takes its time, and everything else goes on.
_SLOWNESS: Final = """
CREATE TABLE slowness (seconds double precision NOT NULL);
INSERT INTO slowness VALUES (0);
CREATE FUNCTION slowed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    PERFORM pg_sleep((SELECT count(*) FROM fresh) * (SELECT seconds FROM slowness));
    RETURN NULL;
END $$;
CREATE TRIGGER slowed AFTER INSERT ON prediction REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION slowed();
"""


@dataclass(frozen=True, slots=True)
class Behind:
    """How far the monitor is behind in its predictions."""

    records: int
    seconds: float


@dataclass
class Seen:
    """What was looked at while the monitor was behind."""

    rss_before: int
    rss: list[int] = field(default_factory=list)
    records_error: list[float] = field(default_factory=list)
    seconds_error: list[float] = field(default_factory=list)
    most: Behind = Behind(0, 0.0)

    def note(self, before: Behind, said: Behind, after: Behind) -> None:
        """What it said between two looks at the truth, beside them."""
        self.most = max(self.most, after, key=lambda one: one.records)
        if min(before.seconds, after.seconds) >= COMPARED_FROM_S:
            self.records_error.append(off(said.records, before.records, after.records))
            self.seconds_error.append(off(said.seconds, before.seconds, after.seconds))

    def figures(self) -> dict[str, Any]:
        """As they are reported; `compared` with a minus, since at least so many are asked for."""
        seconds, records = 100 * max(self.seconds_error, default=1.0), 100 * max(self.records_error, default=1.0)
        return {
            "rss_growth_mib": round((max(self.rss) - self.rss_before) / MIB, 1),
            "rss_mib": round(max(self.rss) / MIB),
            "lag_error_pct": round(max(seconds, records), 2),
            "lag_seconds_error_pct": round(seconds, 2),
            "lag_records_error_pct": round(records, 2),
            "compared": -len(self.seconds_error),
            "most_behind": self.most.records,
            "most_behind_s": round(self.most.seconds, 1),
        }


@dataclass(frozen=True)
class World:
    """A monitor that can be slowed down, and clients that send to it."""

    kafka: str
    monitor: ServiceProcess
    flow: Flow
    administrator: asyncpg.Connection[Any]
    log: KafkaLog

    async def full_speed(self) -> float:
        """Predictions a second that the monitor handles when many wait for it."""
        self.monitor.process.send_signal(signal.SIGSTOP)
        try:
            await self.flow.burst(AT_FULL_SPEED)
            wanted = await ends(self.kafka, [PREDICTIONS.name])
        finally:
            self.monitor.process.send_signal(signal.SIGCONT)
        return await until_read(str(self.monitor.database_url), wanted, WITHIN_S)

    async def slow_down(self, seconds: float) -> None:
        """Each row of a batch takes so much longer from now on."""
        await self.administrator.execute("UPDATE slowness SET seconds = $1", seconds)

    async def truth(self) -> Behind:
        """By the log's ends, the committed offsets and what the clients know."""
        found = await self.log.end_offsets([PREDICTIONS.name])
        at = await self.administrator.fetch(
            "SELECT part, next_offset FROM consumer_offset WHERE topic = $1", PREDICTIONS.name
        )
        now, offsets = time.time(), {row["part"]: row["next_offset"] for row in at}
        missing = {part: end - offsets[part] for (_, part), end in found.items() if end > offsets[part]}
        oldest = min((self.flow.appended_at(part, offsets[part]) for part in missing), default=now)
        return Behind(sum(missing.values()), now - oldest)

    async def said(self) -> Behind:
        """By its metrics."""
        label = f'{{topic="{PREDICTIONS.name}"}}'
        records, seconds = await asyncio.to_thread(
            metrics, self.monitor, f"driftloop_lag_records{label}", f"driftloop_lag_seconds{label}"
        )
        return Behind(int(records), seconds)

    def rss(self) -> int:
        """Bytes of the monitor that are in memory."""
        return int(psutil.Process(self.monitor.process.pid).memory_info().rss)

    async def watch(self, seen: Seen, until_s: float) -> None:
        """Looks once a second until this time."""
        while time.monotonic() < until_s:
            seen.note(await self.truth(), await self.said(), await self.truth())
            seen.rss.append(self.rss())
            await asyncio.sleep(LOOK_EACH_S)


def off(said: float, one: float, other: float) -> float:
    """How far it lies outside of what was true just before and just after, as a share of that."""
    low, high = min(one, other), max(one, other)
    nearest = min(max(said, low), high)
    return abs(said - nearest) / max(1.0, nearest)


def test_a_slow_consumer(
    stack: LocalStack, kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    url, path = service_database("monitor"), tmp_path / "account.jsonl"
    seen, figures = asyncio.run(slowed(stack, kafka, url, tmp_path, path))
    verdict = judge(lines_of(path), asyncio.run(effects(url)))
    report(
        "L4", verdict, **figures, **seen.figures(),
        miscounted=abs(asyncio.run(counted_in_blocks(kafka, url)) - verdict.acked),
        bounds={"rss_growth_mib": 50, "lag_error_pct": 5, "compared": -10, "slowed_to": 0.15, "goes_on_at": -0.05, "miscounted": 0},
    )  # fmt: skip


async def slowed(stack: LocalStack, kafka: str, url: str, folder: Path, path: Path) -> tuple[Seen, dict[str, Any]]:
    """A whole run: at full speed, slow, and caught up again."""
    slow_s = SLOW_S[size()]
    async with monitored(stack, kafka, url, folder, path) as world:
        speed = await world.full_speed()
        seen, handled = Seen(world.rss()), world.flow.sent
        await world.slow_down((1 / SLOWED_TO - 1) / speed)
        with world.flow.steadily(COME_AT * speed):
            await world.watch(seen, time.monotonic() + slow_s)
            share = (world.flow.sent - handled - (await world.truth()).records) / slow_s / speed
            await world.slow_down(0.0)
            began = time.monotonic()
            await world.watch(seen, began + slow_s / 8)
        await until_read(url, await ends(kafka, [PREDICTIONS.name]), WITHIN_S)
        caught_up_s = time.monotonic() - began
        await asyncio.sleep(2 * LOOK_EACH_S)
        assert await world.said() == Behind(0, 0.0)
    figures = {
        "per_second": round(speed),
        "slowed_to": round(share, 3),
        "goes_on_at": -round(share, 3),
        "caught_up_s": round(caught_up_s, 1),
    }
    return seen, figures


@asynccontextmanager
async def monitored(stack: LocalStack, kafka: str, url: str, folder: Path, path: Path) -> AsyncIterator[World]:
    """The monitor knows the clients' models."""
    administrator = await asyncpg.connect(in_database(stack.postgres, url.rpartition("/")[2]))
    log = KafkaLog(kafka, "looks")
    await administrator.execute(_SLOWNESS)
    await publish(kafka, "registry", *declared())
    with Account(path) as account, running("monitor", kafka, folder, url) as monitor:
        await until_read(url, await ends(kafka, [DEPLOYMENTS.name]), WITHIN_S)
        yield World(kafka, monitor, Flow(kafka, account), administrator, log)
    await log.close()
    await administrator.close()


async def effects(url: str) -> list[Effect]:
    """What is kept, by number: rows of a table have no order of their own."""
    kept = [row["prediction_id"].split(":") for row in await rows(url, "SELECT prediction_id FROM prediction")]
    found = [Effect(client, f"{client}:{seq}:{row}", int(seq) * BATCH + int(row)) for client, seq, row in kept]
    return sorted(found, key=lambda effect: effect.seq)


async def counted_in_blocks(kafka: str, url: str) -> int:
    """Predictions by what the monitor counts without keys: full blocks' measurements, and the blocks that are not full yet."""
    log = KafkaLog(kafka, "blocks")
    taken = [MeasurementTaken.read(record.value or b"") for record in await everything(log, MEASUREMENTS.name)]
    await log.close()
    open_rows = int(await asked(url, "SELECT coalesce(sum((block->>'timed')::int), 0) FROM block"))
    return open_rows + sum(one.n for one in taken if one.signal == "latency_ms")


def test_a_wrong_lag_is_seen() -> None:
    """The judge bites: what lies between the two looks is right, anything else is off by what is missing."""
    assert off(105, 100, 110) == 0
    assert off(90, 100, 110) == pytest.approx(0.1)
    assert off(0.0, 60.0, 61.0) == 1.0
    seen = Seen(0)
    seen.note(Behind(1_000, 60.0), Behind(0, 0.0), Behind(1_000, 61.0))
    assert (seen.records_error, seen.seconds_error) == ([1.0], [1.0])
