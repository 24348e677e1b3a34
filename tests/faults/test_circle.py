"""K1: the demo's circle turns at 200 events a second for ten minutes while its parts are killed, one after the other, at random.

Flights of June to August; the broker, Postgres and all services die by SIGKILL and are brought back by the stack's supervisor.
What the demo holds itself to must hold; and every prediction that was answered and every outcome that was taken has had its
effect in the monitor and the history, once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.faults.account import Line
from tests.faults.reading import asked as asked_of
from tests.faults.reading import rows
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.stored import until_stored
from tests.faults.verdict import Effect, Verdict, judge

from driftloop_contracts.topics import OUTCOMES, PREDICTIONS
from driftloop_local.databases import in_database
from driftloop_local.home import Home
from driftloop_local.record import read_record
from feature_store.tables import NAMES, Tables
from flights.demo.command import played, resolved
from flights.demo.kills import Killer
from flights.demo.pace import Pace
from flights.demo.records import MODEL
from flights.demo.scene import Scene, scene
from flights.demo.stage import HOME, stage
from flights.world import load

pytestmark = [pytest.mark.faults, pytest.mark.stack]
# 128,000 events, or 23,000 that come to the first look of the gate.
UNTIL: Final = {"whole": datetime(2013, 8, 20, tzinfo=UTC), "fast": datetime(2013, 6, 29, tzinfo=UTC)}
_PREDICTIONS: Final = """
select prediction_id from prediction where model = $1 and variant = 'champion' and time_us >= $2
"""
_OUTCOMES: Final = """
select o.prediction_id from outcome o
where o.model = $1 and exists (
    select from prediction p where p.model = $1 and p.prediction_id = o.prediction_id and p.time_us >= $2
)
"""
KILLS: Final = {"whole": 60, "fast": 8}
EVENTS_PER_S: Final = 200.0
# Predictions that never met their outcome go first, after 30 days; pairs after 35.
MONITOR_KEEPS: Final = timedelta(days=30)
FORGOTTEN: Final = {
    "prediction": ("predictions_judged", "predictions_without_outcome"),
    "outcome": ("outcomes_judged", "outcomes_without_prediction"),
}
# The history gathers rows for half a minute at most.
STORED_WITHIN_S: Final = 120.0
SEED: Final = 5
"""Decides what dies when. A run with another one is another run, and as good."""


def test_the_circle_closes_while_its_parts_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Report
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = scene(hard=False, fault=None, until=UNTIL[size()])
    killer, pace = Killer(KILLS[size()], SEED), Pace(EVENTS_PER_S)
    with stage(keep=False):
        began = time.monotonic()
        found = asyncio.run(played(asked, free_running=False, killer=killer, pace=pace))
        took_s, per_second = time.monotonic() - began, pace.measured()
        found.append(resolved(MODEL))
        verdict, miscounted = effects_in(Home(tmp_path / HOME), asked)
    broken = [f"{check.what}: {check.found}" for check in found if not check.so]
    report(
        "K1", verdict, seed=SEED, bounds={"checks_broken": 0, "events_per_s_short": 0.0, **dict.fromkeys(miscounted, 0)},
        **miscounted,
        checks_broken=len(broken), broken_checks=broken, checks={check.what: check.found for check in found},
        kills=len(killer.killed), events=pace.sent, took_s=round(took_s), events_per_s=round(per_second, 1),
        events_per_s_short=round(max(0.0, EVENTS_PER_S * 0.95 - per_second), 1),
    )  # fmt: skip


def effects_in(home: Home, asked: Scene) -> tuple[Verdict, dict[str, int]]:
    """What was sent in the month, every piece of it acked, against the monitor's rows and the history's.

    The monitor forgets what is older than a month: of that, the numbers are compared.
    """
    told, kept = _sent(asked.since, asked.until), max(asked.since, asked.until - MONITOR_KEEPS)
    sent = {"monitor": _sent(kept, asked.until), "history": told}
    found = {"monitor": asyncio.run(_judged(home, kept)), "history": _kept(home)}
    verdict = judge(
        [Line(0.0, "demo", one, 0, f"{place} {one}", "ok") for place in sent for one in sent[place]],
        [Effect(one, f"{place} {one}", 0) for place, names in found.items() for one in names],
    )
    return verdict, asyncio.run(_miscounted(home))


def _sent(since: datetime, until: datetime) -> list[str]:
    """What the world has said of the flights that were predicted in this time."""
    slices = list(load().replay(since, until))
    predicted = {name for piece in slices for name in piece.predictions["prediction_id"].to_pylist()}
    came_true = (name for piece in slices for name in piece.outcomes["prediction_id"].to_pylist())
    return [*_named("prediction", predicted), *_named("outcome", (name for name in came_true if name in predicted))]


async def _judged(home: Home, since: datetime) -> list[str]:
    url = in_database(str(read_record(home).postgres), "monitor")
    words = (MODEL, int(since.timestamp() * 1e6))
    return [
        *_named("prediction", [row[0] for row in await rows(url, _PREDICTIONS, *words)]),
        *_named("outcome", [row[0] for row in await rows(url, _OUTCOMES, *words)]),
    ]


async def _miscounted(home: Home) -> dict[str, int]:
    """By how much what the monitor has and has forgotten differs from what the history has of every version."""
    record = read_record(home)
    url, tables = in_database(str(record.postgres), "monitor"), Tables(str(record.history))
    forgotten = json.loads(await asked_of(url, "select state from model_state where model = $1", MODEL))["counts"]
    answered = _rows(tables, PREDICTIONS.name, pc.field("variant") != "history")
    came_true = _rows(tables, OUTCOMES.name, pc.field("variant").is_null())
    return {
        f"miscounted_{kind}s": abs(
            len(_by_event(table))
            - await asked_of(url, f"select count(*) from {kind} where model = $1", MODEL)
            - sum(count for name, count in forgotten.items() if name in FORGOTTEN[kind])
        )
        for kind, table in (("prediction", answered), ("outcome", came_true))
    }


def _kept(home: Home) -> list[str]:
    """By event: the history is the log's, and a record may be repeated there under its id."""
    record = read_record(home)
    tables = Tables(str(record.history))
    asyncio.run(until_stored(tables, str(record.kafka), (PREDICTIONS.name, OUTCOMES.name), STORED_WITHIN_S))
    live = _rows(tables, PREDICTIONS.name, pc.field("variant") == "champion")
    told = _rows(tables, OUTCOMES.name, pc.field("variant").is_null())
    return [*_named("prediction", _by_event(live)), *_named("outcome", _by_event(told))]


def _rows(tables: Tables, topic: str, where: pc.Expression) -> pa.Table:
    return tables.rows(topic, tables.versions()[NAMES[topic]], where, ["event_id", "prediction_id"])


def _by_event(table: pa.Table) -> list[str]:
    return table.group_by(["event_id", "prediction_id"]).aggregate([])["prediction_id"].to_pylist()


def _named(kind: str, ids: Iterable[str]) -> list[str]:
    return [f"{kind} {one}" for one in ids]
