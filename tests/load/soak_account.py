"""What the users of the soak were told, beside what the monitor and the history hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Final

from tests.faults.reading import ends, rows, until_read
from tests.faults.stored import until_stored
from tests.faults.verdict import Effect, Verdict, judge
from tests.load.soak_users import Users
from tests.load.soak_world import KEEPING, MODEL, VIEW, WITHIN_S, Circle

from driftloop_bus.routes import reads
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from feature_store.tables import Tables

STORED: Final = (PREDICTIONS.name, OUTCOMES.name, OBSERVATIONS.name)


async def held(kafka: str, circle: Circle, urls: Mapping[str, str], history: Path) -> None:
    """Everything that was said is read, kept and stored. Raises AssertionError or TimeoutError where it is not in time."""
    await circle.parts["serving"].eventually("/ready", lambda said: said["spool_pending"] == 0, WITHIN_S)
    for name in KEEPING:
        # The feature store hears predictions and outcomes for its history alone, without a group.
        heard = [topic.name for topic in reads(name) if name != "feature_store" or topic.name not in STORED[:2]]
        await until_read(urls[name], await ends(kafka, heard), WITHIN_S)
    await until_stored(Tables(history.as_uri()), kafka, STORED, WITHIN_S)


async def judged(users: Users, urls: Mapping[str, str], history: Path) -> Verdict:
    """Each prediction and outcome once in the monitor and once in the history, each pushed row once in the history."""
    found = {
        "monitor": {
            "prediction": await _ids(urls["monitor"], "SELECT prediction_id FROM prediction WHERE model = $1", MODEL),
            "outcome": await _ids(urls["monitor"], "SELECT prediction_id FROM outcome WHERE model = $1", MODEL),
        },
        "history": await asyncio.to_thread(_stored, history),
    }
    told = reduce(add, (judge(lines, []) for lines in users.told.values()))
    each = [judge(users.told[kind], _effects(ids)) for kinds in found.values() for kind, ids in kinds.items()]
    return replace(reduce(add, each), acked=told.acked, refused=told.refused, indefinite=told.indefinite)


async def stale(users: Users, url: str) -> int:
    """How many sites do not have the value that was pushed last."""
    found = await rows(url, "SELECT entity, values FROM online WHERE view = $1", VIEW)
    values = {row["entity"]: json.loads(row["values"])["wind"] for row in found}
    return sum(values.get(site) != value for site, value in users.newest.items())


async def _ids(url: str, query: str, *words: str) -> list[str]:
    return [row[0] for row in await rows(url, query, *words)]


def _stored(history: Path) -> dict[str, list[str]]:
    tables = Tables(history.as_uri())
    versions = tables.versions()
    predictions = tables.rows(PREDICTIONS.name, versions["predictions"], columns=["prediction_id"])
    outcomes = tables.rows(OUTCOMES.name, versions["outcomes"], columns=["prediction_id"])
    pushed = tables.rows(OBSERVATIONS.name, versions["observations"], columns=["entity", "values"])
    winds = (json.loads(values)["wind"] for values in pushed["values"].to_pylist())
    return {
        "prediction": predictions["prediction_id"].to_pylist(),
        "outcome": outcomes["prediction_id"].to_pylist(),
        "push": [f"{site}:{wind:.0f}" for site, wind in zip(pushed["entity"].to_pylist(), winds, strict=True)],
    }


def _effects(ids: list[str]) -> list[Effect]:
    """Each its own key: no order is promised across the keys of a topic."""
    return [Effect(what, what, 0) for what in ids]
