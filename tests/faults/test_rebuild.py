"""R1: the log heard from its beginning by an empty database gives the state that was lost, and quickly.

What is known beforehand must be there exactly: pairs that met though the outcome came first (three in ten), predictions that
stay alone (one in twenty), rows of each closed window.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.compatibility.golden.state import state_of
from tests.faults.late_world import LateWorld
from tests.faults.reading import asked, ends, send, until_read
from tests.faults.report import Report
from tests.faults.results import size

from driftloop_bus.ports import Outgoing
from driftloop_bus.testing import publish
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS
from driftloop_kit.testing import running

pytestmark = [pytest.mark.faults, pytest.mark.stack]
# Predictions; with their outcomes 200,000 events, and 20,000.
PREDICTIONS_OF: Final = {"whole": 102_600, "fast": 10_260}
WITHIN_S: Final = 300.0
LEAST_A_SECOND: Final = 5_000
DATA: Final = [PREDICTIONS.name, OUTCOMES.name]
PAIRS: Final = "SELECT count(*) FROM prediction JOIN outcome USING (model, prediction_id)"
OVERTAKEN: Final = f"{PAIRS} WHERE prediction.arrived_us > outcome.arrived_us"
ALONE: Final = (
    "SELECT count(*) FROM prediction LEFT JOIN outcome USING (model, prediction_id) WHERE outcome.model IS NULL"
)
CLOSED: Final = "SELECT (state->'watch'->>'open_us')::bigint FROM model_state"
COUNTED: Final = "SELECT (state->'outcomes'->>0)::bigint FROM model_state"


async def test_an_empty_database_is_as_the_one_before(
    kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    world = LateWorld(PREDICTIONS_OF[size()])
    await publish(kafka, "registry", *world.declared)
    first, again = [await asyncio.to_thread(service_database, "monitor") for _ in range(2)]
    lived_a_second = await heard(kafka, first, tmp_path, world.records())
    a_second = await heard(kafka, again, tmp_path)
    there, anew = await state_of(first), await state_of(again)
    apart = sorted(table for table in there if there[table].digest != anew[table].digest)
    wrong = {name: (found, meant) for name, (found, meant) in (await counts(world, again)).items() if found != meant}
    report(
        "R1", bounds={"tables_apart": 0, "counts_wrong": 0, "slowness": -LEAST_A_SECOND},
        events=world.predictions + len(world.met_us), outcome_first=world.outcome_first, alone=int(world.never.sum()),
        a_second=round(a_second), slowness=-round(a_second), a_second_live=round(lived_a_second),
        tables=len(there), tables_apart=len(apart), apart=apart,
        counts_wrong=len(wrong), wrong=wrong,
    )  # fmt: skip


async def heard(kafka: str, url: str, folder: Path, told: Sequence[Outgoing] = ()) -> float:
    """Everything on the log, and this that is told while the monitor listens, has its effects; records a second."""
    with running("monitor", kafka, folder, url) as monitor:
        await send(kafka, told)
        pace = await until_read(url, await ends(kafka, DATA), WITHIN_S)
        assert monitor.ready()["ready"], monitor.log_tail()
    return pace


async def counts(world: LateWorld, url: str) -> dict[str, tuple[int, int]]:
    """What is there and what was meant, by what it counts."""
    return {
        "pairs": (await asked(url, PAIRS), len(world.met_us)),
        "overtaken": (await asked(url, OVERTAKEN), world.outcome_first),
        "alone": (await asked(url, ALONE), int(world.never.sum())),
        "in closed windows": (await asked(url, COUNTED), world.met_before(await asked(url, CLOSED))),
        "in closed windows, at least": (int(await asked(url, COUNTED) > 0.9 * len(world.met_us)), 1),
    }
