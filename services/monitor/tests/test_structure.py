"""Faults in the features are found in the predictions themselves, named, and never answered with a retrain."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from services.monitor.tests.test_the_circle import BAD, GOOD
from services.monitor.tests.world import (
    MODEL,
    AWatchedWorld,
    at,
    days,
    declared,
    deployed,
    loss_to_hold,
    of,
    served,
)

from driftloop_contracts import AnyEvent, Event, first
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.event import Scalar
from driftloop_contracts.loop import DriftCleared, DriftDetected, MeasurementTaken, RetrainRequested
from driftloop_detect.structural import Check, Finding, Reference
from monitor.domain.blocks import Block, filled
from monitor.domain.faults import reach
from monitor.domain.histograms import Bins, psi

DIGEST = "sha256:reference"
Fault = Callable[[int], dict[str, Scalar]]


def healthy(row: int) -> dict[str, Scalar]:
    """Features as in training: x returns each 100 rows, half of the rows are of each site."""
    return {"x": float(row % 100), "site": "EWR" if row % 2 else "JFK"}


def reference() -> Reference:
    """What 6,000 healthy rows were like."""
    rows = [healthy(row) for row in range(6000)]
    columns = {"x": np.array([r["x"] for r in rows], float), "site": np.array([r["site"] for r in rows], object)}
    return Reference.of(columns, columns["site"])


async def a_world() -> AWatchedWorld:
    """A served version whose training rows are known."""
    world = AWatchedWorld()
    champion = served("1", 0, loss_to_hold(mean=0.08)).model_copy(update={"reference_digest": DIGEST})
    await world.hear(declared(), deployed(1, champion, 0))
    assert DIGEST in world.store["wanted"]
    await world.monitor.references.put(DIGEST, json.dumps(reference().to_json()))
    return world


def predictions(count: int, features: Fault, start: int = 0) -> list[AnyEvent]:
    """So many of the champion's predictions, ten minutes apart."""
    made = []
    for row in range(start, start + count):
        data = PredictionMade(
            prediction_id=f"p{row}", model=MODEL, version="1", features=features(row), score=0.3, latency_ms=2.0
        )  # fmt: skip
        made.append(first(data, id=f"p{row}", time=at(row / 144)))
    return made


async def found(fault: Fault, poll: int = 333) -> list[Event[DriftDetected]]:
    world = await a_world()
    return of(DriftDetected, await world.read([*predictions(1000, healthy), *predictions(1000, fault, 1000)], poll))


async def test_healthy_rows_raise_nothing() -> None:
    assert await found(healthy) == []


async def test_a_feature_that_is_null_is_found_within_rows_and_the_advice_is_to_fix_the_pipeline() -> None:
    (alarm,) = await found(lambda row: healthy(row) | {"x": None})
    assert (alarm.data.signal.kind, alarm.data.signal.name, alarm.data.kind) == ("missing", "x", "schema")
    assert alarm.data.recommendation.action == "fix_pipeline"
    assert at(1000 / 144) < alarm.time <= at(1200 / 144)
    assert alarm.causation == f"p{round((alarm.time - at(0)).total_seconds() / 600)}"
    assert alarm.data.effects[0].before == 0


@pytest.mark.parametrize(("one_in", "severity"), [(1, "critical"), (4, "warning"), (12, "info")])
@pytest.mark.parametrize("poll", [7, 2000])
async def test_a_fault_says_which_share_of_the_rows_it_concerns_and_is_as_severe(
    one_in: int, severity: str, poll: int
) -> None:
    (alarm,) = await found(lambda row: healthy(row) | ({"x": None} if row % one_in == 0 else {}), poll)
    rows = round((alarm.time - at(0)).total_seconds() / 600) + 1 - 1000
    concerned = sum((1000 + row) % one_in == 0 for row in range(rows))
    assert (alarm.data.traffic_share, alarm.data.delay_samples) == (concerned / rows, concerned)
    assert alarm.data.severity == severity


def test_what_counts_no_rows_names_no_share() -> None:
    apart = Finding(Check("contrast", "x", "EWR", "distance to the other segments"), "opened", 99, 40.0, 9.0, 0.0)
    assert (reach(apart, 1100).share, reach(apart, 1100).severity) == (None, "warning")
    resting = Finding(Check("stale", "x", "EWR", "equal values in a row"), "opened", 99, 73.0, 53.0, 1.0)
    assert (reach(resting, 1100).share, reach(resting, 1100).samples) == (None, 73)


async def test_an_unseen_value_and_a_range_are_told_apart() -> None:
    renamed = await found(lambda row: healthy(row) | {"site": "XXX"})
    assert ("unseen", "site") in {(e.data.signal.kind, e.data.signal.name) for e in renamed}
    (out,) = await found(lambda row: healthy(row) | {"x": 5000.0 + row % 100})
    assert (out.data.signal.kind, out.data.signal.name) == ("range", "x")


async def test_however_the_rows_are_cut_the_same_faults_follow() -> None:
    whole = await found(lambda row: healthy(row) | {"x": None}, poll=2000)
    cut = await found(lambda row: healthy(row) | {"x": None}, poll=7)
    assert [event.id for event in whole] == [event.id for event in cut]


async def test_a_fault_that_is_gone_for_a_block_is_over_and_none_asks_for_a_retrain() -> None:
    world = await a_world()
    await world.read(predictions(1000, lambda row: healthy(row) | {"x": None}))
    said = await world.read(predictions(2500, healthy, 1000))
    (cleared,) = of(DriftCleared, said)
    assert cleared.data.incident == of(DriftDetected, world.said)[0].data.incident
    assert not of(RetrainRequested, world.said)


async def test_full_blocks_say_latency_and_the_null_rates_that_are_not_zero() -> None:
    world = await a_world()
    said = await world.read(predictions(2000, lambda row: healthy(row) | ({"x": None} if row % 50 == 0 else {})))
    signals = {(e.data.signal, e.data.n, round(e.data.mean, 6)) for e in of(MeasurementTaken, said)}
    assert {("latency_ms", 1000, 2.0), ("null:x", 1000, 0.02)} <= signals
    assert not any(signal == "null:site" for signal, _, _ in signals)


async def test_without_training_rows_nothing_is_compared_and_nothing_fails() -> None:
    world = AWatchedWorld()
    await world.hear(declared(), deployed(1, served("1", 0, loss_to_hold(mean=0.08)), 0))
    said = await world.read(predictions(2000, lambda row: healthy(row) | {"x": None}))
    assert not of(DriftDetected, said)


async def test_the_alarm_of_the_loss_names_the_features_that_moved() -> None:
    world = await a_world()
    moved = [_moved(event) for event in days(8, lambda day: GOOD if day < 3 else BAD)]
    (alarm,) = [e for e in of(DriftDetected, await world.read(moved)) if e.data.signal.kind == "loss"]
    causes = {cause.feature: cause for cause in alarm.data.causes}
    assert alarm.data.causes[0].feature == "x"
    assert causes["x"].distance > 0.2
    for cause in causes.values():
        assert len(cause.bins) == len(cause.before) == len(cause.after)
        assert abs(sum(cause.before) - 1) < 1e-9
        assert abs(sum(cause.after) - 1) < 1e-9
    assert alarm.data.labels is not None
    assert alarm.data.labels.coverage == 1.0
    assert alarm.data.labels.delay_p50_s is not None


def _moved(event: AnyEvent) -> AnyEvent:
    """x of the days that went wrong is half of what it was."""
    if not isinstance(event.data, PredictionMade) or event.time < at(3):
        return event
    features = event.data.features | {"x": float(event.data.features["x"] or 0) / 2}
    return replace(event, data=event.data.model_copy(update={"features": features}))


def test_blocks_do_not_depend_on_the_cut_to_the_last_bit() -> None:
    random = np.random.default_rng(1)
    latency, times = random.exponential(3.0, 2500), np.arange(2500, dtype=np.int64)
    x = np.where(random.random(2500) < 0.1, np.nan, 1.0)

    def blocks(size: int) -> list[Block]:
        block, full = Block(), []
        for start in range(0, 2500, size):
            part = slice(start, start + size)
            block, done = filled(block, {"x": x[part]}, ["x"], times[part], latency[part])
            full += [one.block for one in done]
        return [*full, block]

    assert blocks(2500) == blocks(1) == blocks(777)


def test_a_distribution_has_no_distance_to_itself() -> None:
    bins = Bins.of(reference())
    counts = bins.counted({"x": np.arange(100.0), "site": np.array(["EWR", "JFK"] * 50, object)}, 100)
    assert sum(counts["x"]) == sum(counts["site"]) == 100
    assert all(moved.psi < 0.01 for moved in bins.moved(counts))
    assert psi(np.array([0.5, 0.5]), np.array([0.9, 0.1])) > 0.5
