"""L1: a thousand events of a kilobyte a second, with every part running; each is kept once by monitor and history.

There is no intake by HTTP for predictions and outcomes: outside producers write them to Kafka, and so do these. The history
is a copy of the topic: what was sent again, and so stands there twice, stands twice in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
import uvloop
from tests.faults.account import Account, told
from tests.faults.reading import rows
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.verdict import Effect, Verdict, judge
from tests.load import ingest_world, soak_world
from tests.load.ingest_clients import Clients, Kept
from tests.load.soak_account import held
from tests.load.soak_world import KEEPING, circle

from driftloop_contracts.topics import PREDICTIONS
from feature_store.tables import Tables

pytestmark = [pytest.mark.faults, pytest.mark.stack]
SECONDS: Final = {"fast": 20.0, "whole": 300.0}
PER_S: Final = 1_000.0
P99_MS: Final = 100.0


async def test_a_thousand_events_a_second_are_taken_and_kept_once(
    kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    urls = {name: await asyncio.to_thread(service_database, name) for name in KEEPING}
    await soak_world.declared(kafka, tmp_path)
    await ingest_world.declared(kafka, tmp_path)
    with circle(kafka, tmp_path, urls) as around, Account(tmp_path / "account") as account:
        clients = Clients(kafka, Kept(account))
        # In a loop of its own, as fast as there is: what is measured is the broker beside all parts, not the clients.
        taken_per_s = await asyncio.to_thread(uvloop.run, clients.send(SECONDS[size()]))
        sent_at = time.monotonic()
        await held(kafka, around, urls, tmp_path / "history")
        behind_s, restarts = time.monotonic() - sent_at, around.restarts()
        in_rows, in_history = await judged(account.path, urls, tmp_path / "history")
    report(
        "L1", in_rows, seconds=SECONDS[size()], taken_per_s=round(taken_per_s), slowness=-round(taken_per_s),
        p50_ms=clients.percentile_ms(50),
        p99_ms=clients.percentile_ms(99), p999_ms=clients.percentile_ms(99.9), unmade=clients.unmade,
        lost_in_history=in_history.lost, wrong_in_history=in_history.phantom + max(0, in_history.dup - clients.sent_again),
        sent_again=clients.sent_again, read_after_s=round(behind_s, 1),
        restarts=restarts,
        bounds={"slowness": -PER_S, "p99_ms": P99_MS, "lost_in_history": 0, "wrong_in_history": 0, "restarts": 0},
    )  # fmt: skip


async def judged(account: Path, urls: Mapping[str, str], history: Path) -> tuple[Verdict, Verdict]:
    """Each prediction once in the monitor's rows, and once in the history."""
    lines = told(account)
    kept = await rows(urls["monitor"], "SELECT prediction_id FROM prediction WHERE model LIKE 'ingest-%'")
    stored = await asyncio.to_thread(in_history, history)
    return judge(lines, effects([row[0] for row in kept])), judge(lines, effects(stored))


def in_history(history: Path) -> Sequence[str]:
    """The ids of all predictions that are stored there."""
    tables = Tables(history.as_uri())
    stored = tables.rows(PREDICTIONS.name, tables.versions()["predictions"], columns=["prediction_id"])
    return list(map(str, stored["prediction_id"].to_pylist()))


def effects(ids: Sequence[str]) -> list[Effect]:
    """Each is its own key: no order is promised across the keys of a topic."""
    return [Effect(what, what, 0) for what in ids]
