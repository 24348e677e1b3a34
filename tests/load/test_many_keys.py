"""L5: a million prediction ids, a million entities, and keys that nobody should have made: memory is bounded, counts exact.

Whatever the monitor and the feature store know of a key is in Postgres alone once its transaction is committed, and comes back
when the key does. Serving holds every entity in memory, up to a number; one that found no room is back after the number is raised.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from tests.faults.reading import asked, ends, send, until_read
from tests.faults.report import Report
from tests.faults.results import size
from tests.load import keys
from tests.load.flow import model
from tests.load.watching import Memory, metrics
from tests.load.world import A_DAY, DAY, DELAY, START, Model, reference

from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.outgoing import PACKED_ROWS
from driftloop_bus.testing import everything, publish
from driftloop_contracts import first
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.loop import MeasurementTaken
from driftloop_contracts.topics import DECLARATIONS, DEPLOYMENTS, MEASUREMENTS, OBSERVATIONS, OUTCOMES, PREDICTIONS
from driftloop_kit.testing import ServiceProcess, running

pytestmark = [pytest.mark.faults, pytest.mark.stack]
ENTITIES: Final = {"whole": 1_000_000, "fast": 10_000}
IDS: Final = {"whole": 3_907 * PACKED_ROWS, "fast": 100 * PACKED_ROWS}
SHARDS: Final = {"whole": 100_000, "fast": 2_000}
MAX_STREAMS: Final = 128
AT_ONCE: Final = 200 * PACKED_ROWS
LOOKED_AT: Final = 300
MOST_MIB: Final = 512
WITHIN_S: Final = 3_000.0
STATE: Final = "SELECT state FROM model_state WHERE model = $1"


def test_many_keys(kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report) -> None:
    # In this order: the history is not held up by a million predictions, which are not asked about.
    figures = _entities(kafka, service_database("feature_store"), tmp_path)
    figures |= _ids(kafka, service_database("monitor"), tmp_path)
    wrong = {name: 0.0 for name in figures if name.startswith(("wrong_", "miscounted_"))}
    report("L5", **figures, bounds=wrong | {name: MOST_MIB for name in figures if name.startswith("rss_")})


def _ids(kafka: str, url: str, folder: Path) -> dict[str, Any]:
    """A million ids, each first as a prediction and later as an outcome, a tenth of them once more; then the shards."""
    world, shards, memory = Model("packed", partition=1), SHARDS[size()], Memory()
    asyncio.run(_prepared(kafka, folder, world))
    with running("monitor", kafka, folder, url) as monitor, memory.of(monitor):
        asyncio.run(until_read(url, asyncio.run(ends(kafka, [DEPLOYMENTS.name, DECLARATIONS.name])), WITHIN_S))
        first_tenth: list[Any] = []
        while world.made < IDS[size()]:
            made = world.next(min(AT_ONCE, IDS[size()] - world.made))
            asyncio.run(send(kafka, made))
            first_tenth = first_tenth or made[: len(made) * IDS[size()] // (10 * world.made)]
        asyncio.run(send(kafka, first_tenth))
        for start in range(0, shards, 10_000):
            asyncio.run(send(kafka, [_of_shard(number) for number in range(start, min(shards, start + 10_000))]))
        asyncio.run(until_read(url, asyncio.run(ends(kafka, [PREDICTIONS.name, OUTCOMES.name])), WITHIN_S))
    return asyncio.run(_counted(kafka, url, world)) | {"rss_monitor_mib": round(memory.most)}


async def _counted(kafka: str, url: str, world: Model) -> dict[str, Any]:
    """Against what was sent: kept or evicted rows, pairs in closed windows, and rows of shards."""
    shards, left = SHARDS[size()], json.loads(await asked(url, STATE, world.name))["counts"]
    sharded = json.loads(await asked(url, STATE, "sharded"))
    predictions, outcomes = [
        await asked(url, f"SELECT count(*) FROM {table} WHERE model = $1", world.name)
        for table in ("prediction", "outcome")
    ]
    paired, closed_until = await _paired(kafka, world.name)
    delay = closed_until - START - DELAY
    return {
        "ids": world.made,
        "miscounted_predictions": abs(predictions + left.get("predictions_judged", 0) - world.made),
        "miscounted_outcomes": abs(outcomes + left.get("outcomes_judged", 0) - world.made),
        "miscounted_pairs": abs(paired - min(world.made, delay * A_DAY // DAY + 1)),
        "evicted": left.get("predictions_judged", 0),
        "shards": shards,
        "streams": len(sharded["clocks"]["predictions"]),
        "miscounted_shards": abs(await asked(url, "SELECT count(*) FROM prediction WHERE model = 'sharded'") - shards)
        + abs(sharded["counts"]["predictions_of_too_many_streams"] - (shards - MAX_STREAMS)),
    }


async def _paired(kafka: str, name: str) -> tuple[int, datetime]:
    """Pairs that the closed windows held, and until when."""
    log = KafkaLog(kafka, "pairs")
    taken = [MeasurementTaken.read(record.value or b"") for record in await everything(log, MEASUREMENTS.name)]
    await log.close()
    losses = [one for one in taken if one.model == name and one.signal == "loss:brier"]
    return sum(one.n for one in losses), max(one.window_end for one in losses)


def _entities(kafka: str, url: str, folder: Path) -> dict[str, Any]:
    """A million entities through the feature store; then a serving with room for nine tenths, then one with room for all."""
    count, stored, served = ENTITIES[size()], Memory(), Memory()
    with ExitStack() as stack:
        store = stack.enter_context(running("feature_store", kafka, folder, url))
        stack.enter_context(stored.of(store))
        asyncio.run(_view_declared(kafka, folder))
        for start in range(0, count, 20_000):
            asyncio.run(send(kafka, keys.observed(range(start, min(count, start + 20_000)))))
        _until_stored(kafka, url)
        with _serving(kafka, folder, served, SERVING_MAX_ENTITIES=str(count * 9 // 10)) as crowded:
            few = crowded.ready()["features"]
        with _serving(kafka, folder, served) as serving:
            asyncio.run(send(kafka, keys.observed_again(count)))
            _until_stored(kafka, url)
            serving.until(lambda: _worth(serving, 0) == keys.worth(0, again=True), "hearing of those that came again")
            serving.until_page("/ready", lambda said: not said["lag"], WITHIN_S)
            all_of_them = serving.ready()["features"]
            numbers = range(1, count, max(1, count // LOOKED_AT))
            wrong = sum(_worth(serving, number) != keys.worth(number, again=True) for number in numbers)
        store.until_page("/ready", lambda said: _history(said) == count * 12 // 10, WITHIN_S)
        (in_history,) = metrics(store, f'driftloop_history_rows_total{{topic="{OBSERVATIONS.name}"}}')
    return {
        "entities": count,
        "miscounted_entities": abs(asyncio.run(asked(url, "SELECT count(*) FROM online")) - count),
        "wrong_entities": asyncio.run(asked(url, keys.WRONG_ROWS, keys.MORE)),
        "miscounted_history": abs(in_history - count * 12 // 10),
        "miscounted_without_room": abs(few["entities"] - count * 9 // 10) + abs(few["refused"] - count // 10),
        "miscounted_readmitted": abs(all_of_them["entities"] - count) + all_of_them["refused"],
        "wrong_answers": wrong,
        "rss_feature_store_mib": round(stored.most),
        "rss_serving_mib": round(served.most),
    }


@contextmanager
def _serving(kafka: str, folder: Path, memory: Memory, **settings: Any) -> Iterator[ServiceProcess]:
    with ServiceProcess("serving", kafka, folder, **settings) as serving, memory.of(serving):
        serving.until_page("/ready", lambda said: said["ready"], WITHIN_S)
        yield serving


def _worth(serving: ServiceProcess, number: int) -> float:
    """Of the entity, by what serving answers."""
    said = serving.post(f"/predict/{keys.MODEL}", {"features": {}, "keys": {"customer": keys.entity(number)}}).json()
    return float(said["score"]) / 2


def _history(said: dict[str, Any]) -> int:
    return sum(said["history"].get(OBSERVATIONS.name, {}).values())


def _until_stored(kafka: str, url: str) -> None:
    asyncio.run(until_read(url, asyncio.run(ends(kafka, [OBSERVATIONS.name])), WITHIN_S))


async def _prepared(kafka: str, folder: Path, world: Model) -> None:
    digest = await reference(ArtifactStore.open((folder / "artifacts").as_uri()))
    await publish(
        kafka, "registry", world.declared(), world.deployed(digest), *model("sharded", START - timedelta(days=1))
    )


async def _view_declared(kafka: str, folder: Path) -> None:
    await publish(kafka, "registry", *await keys.declared((folder / "artifacts").as_uri()))


def _of_shard(number: int) -> Any:
    made = PredictionMade(
        prediction_id=f"s{number}", model="sharded", version="1", score=0.5, shard=f"s{number}", features={"x": 1.0}
    )
    return replace(
        encode(first(made, id=f"s{number}", time=START.astimezone(UTC)), "serving"),
        partition=number % PREDICTIONS.partitions,
    )
