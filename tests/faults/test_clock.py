"""F12: one clock three days ahead, another an hour behind: nothing is leased twice, and the same is remembered and said.

And a world in which one outcome in a hundred comes more than a day late: each is counted aside, and no window that was closed
is another one afterwards.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from tests.compatibility.golden.state import rows_in
from tests.faults.late_world import DAY_US, START, LateWorld, a_view, readings
from tests.faults.lease_worker import KIND
from tests.faults.reading import asked, ends, on_log, send, until, until_read
from tests.faults.report import Report
from tests.faults.results import ROOT, size
from tests.faults.skew import skewed

from driftloop_bus.codec import decode
from driftloop_bus.testing import publish
from driftloop_contracts import Event
from driftloop_contracts.control_plane import CommandGiven, CommandRefused
from driftloop_contracts.loop import MeasurementTaken, RetrainRequested
from driftloop_contracts.topics import (
    DECLARATIONS,
    DEPLOYMENTS,
    DRIFT,
    MEASUREMENTS,
    OBSERVATIONS,
    OUTCOMES,
    PREDICTIONS,
    RETRAINING,
)
from driftloop_kit.testing import ServiceProcess, bare_environment, running

pytestmark = [pytest.mark.faults, pytest.mark.stack]
PREDICTIONS_OF: Final = {"whole": 102_600, "fast": 10_260}
JOBS: Final = {"whole": 400, "fast": 48}
READ: Final = {
    "monitor": [topic.name for topic in (DECLARATIONS, DEPLOYMENTS, PREDICTIONS, OUTCOMES)],
    "feature_store": [topic.name for topic in (DECLARATIONS, OBSERVATIONS)],
}
SKEWS: Final = {"monitor": "+3d", "feature_store": "-1h"}
WITHIN_S: Final = 300.0
# Ticks come each 5 s; a declaration that is this late is waited for.
DECLARED_AFTER_S: Final = 7.0
LATE: Final = "SELECT coalesce((state->'counts'->>'outcomes_late')::bigint, 0) FROM model_state WHERE model = $1"
UNSENT: Final = "SELECT count(*) FROM outbox WHERE published_at IS NULL"


@dataclass(frozen=True)
class Place:
    """Both services on one log, with databases of their own."""

    kafka: str
    folder: Path
    urls: Mapping[str, str]
    skews: Mapping[str, str]

    async def read(self) -> Mapping[str, set[str]]:
        """All of the log is read; everything that each service remembers of it, and how a command fared that came too early."""
        with self._running("monitor") as monitor, self._running("feature_store"):
            for name, url in self.urls.items():
                await until_read(url, await ends(self.kafka, READ[name]), WITHIN_S)
            rows = {
                f"{name}.{table}": {row for row in rows if '"early' not in row}
                for name, url in self.urls.items()
                for table, rows in (await rows_in(url)).items()
            }
            answer = await self._told_too_early(monitor)
        return rows | {"an early command": {answer}}

    def _running(self, name: str) -> Any:
        wrong: dict[str, Any] = dict(skewed(self.skews[name])) if name in self.skews else {}
        return running(name, self.kafka, self.folder, self.urls[name], **wrong)

    async def _told_too_early(self, monitor: ServiceProcess) -> str:
        """A retrain is asked for some seconds before its model is declared."""
        world = LateWorld(1, model="early-skewed" if self.skews else "early")
        given = CommandGiven(command="retrain", model=world.model, given_by="ops", until=START)
        await publish(self.kafka, "console", Event(id=f"given-{world.model}", time=START, data=given))
        await asyncio.sleep(DECLARED_AFTER_S)
        await publish(self.kafka, "registry", *world.declared)
        await until_read(self.urls["monitor"], await ends(self.kafka, READ["monitor"]), WITHIN_S)
        said = [decode(record) for record in await on_log(self.kafka, RETRAINING.name)]
        kinds = {type(event.data) for event in said if event.causation == f"given-{world.model}"}
        assert len(kinds) == 1, monitor.log_tail()
        return "requested" if kinds == {RetrainRequested} else "refused" if kinds == {CommandRefused} else str(kinds)


async def test_clocks_that_are_wrong_decide_nothing(
    kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    world = LateWorld(PREDICTIONS_OF[size()], late=True)
    await publish(kafka, "registry", *world.declared, a_view())
    await send(kafka, [*world.records(), *readings(4_000)])
    right = Place(kafka, tmp_path, {name: await asyncio.to_thread(service_database, name) for name in READ}, {})
    wrong = Place(kafka, tmp_path, {name: await asyncio.to_thread(service_database, name) for name in READ}, SKEWS)
    then = await right.read()
    said = {record.headers for record in await on_log(kafka, DRIFT.name)}
    windows = await windows_of(kafka, world)
    now = await wrong.read()
    again = [dict(record.headers)["ce_id"] for record in await on_log(kafka, DRIFT.name)]
    apart = sorted(table for table in then if then[table] != now[table])
    leases = await leased_twice(await asyncio.to_thread(service_database, "retrainer"), tmp_path, JOBS[size()])
    counted = await asked(wrong.urls["monitor"], LATE, world.model)
    report(
        "F12",
        bounds={
            "double_leases": 0, "jobs_lost": 0, "states_apart": 0, "unsent": 0, "alerts_apart": 0, "alerts_missing": 0,
            "late_not_counted": 0, "windows_changed": 0,
        },
        **leases, tables=len(then), states_apart=len(apart), apart=apart,
        unsent=sum([await asked(url, UNSENT) for url in wrong.urls.values()]), alerts=len(said),
        alerts_apart=sum(count != 2 for count in Counter(again).values()), alerts_missing=int(not said),
        late=int(world.told_late.sum()), late_not_counted=abs(int(world.told_late.sum()) - counted), **windows,
    )  # fmt: skip


async def windows_of(kafka: str, world: LateWorld) -> dict[str, Any]:
    """Windows that were closed, and those that hold other rows than had arrived until then, or were told twice."""
    facts = [decode(record).data for record in await on_log(kafka, MEASUREMENTS.name)]
    rows = [fact for fact in facts if isinstance(fact, MeasurementTaken) and fact.signal == "rows"]
    held = Counter((fact.window_end, fact.n) for fact in rows if fact.model == world.model)
    closes = [int(end.timestamp() * 1e6) for end, _ in sorted(held)]
    meant = [world.met_before(until) - world.met_before(since) for since, until in pairwise([0, *closes])]
    told = [n for _, n in sorted(held)]
    wrong = sum(n != m for n, m in zip(told, meant, strict=True)) + sum(held.values()) - len({end for end, _ in held})
    assert len(held) >= (world.met_us.max() - world.times_us[0]) // DAY_US - 1
    return {"windows": len(held), "windows_changed": wrong}


async def leased_twice(url: str, folder: Path, jobs: int) -> dict[str, Any]:
    """How many jobs two workers with clocks days apart leased more often than once, or lost."""
    connection = await asyncpg.connect(url)
    shares = [json.dumps({"share": 1.0 if i % 8 == 0 else 0.1}) for i in range(jobs)]
    await connection.executemany(
        "INSERT INTO job (id, kind, payload) VALUES ($1, $2, $3)", [(f"job-{i}", KIND, s) for i, s in enumerate(shares)]
    )
    file = folder / "leases.jsonl"
    command = [sys.executable, "-m", "tests.faults.lease_worker", url, str(file)]
    workers = [
        await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=bare_environment() | skewed(by))
        for by in SKEWS.values()
    ]
    try:
        await until(connection, "SELECT count(*) = 0 FROM job WHERE ended_at IS NULL", WITHIN_S)
    finally:
        for worker in workers:
            worker.terminate()
            await worker.wait()
    leases = await connection.fetchval("SELECT sum(attempt) FROM job")
    await connection.close()
    runs = [json.loads(line) for line in file.read_text().splitlines()]
    offsets_h = {round(run["wall"] - run["ended"]) // 3_600 for run in runs}
    assert max(offsets_h) - min(offsets_h) >= 72, "the clocks of the two workers agree"
    done = Counter(run["job"] for run in runs)
    return {"jobs": jobs, "double_leases": max(leases, len(runs)) - jobs, "jobs_lost": jobs - len(done)}
