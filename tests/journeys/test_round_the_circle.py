"""Journeys round the whole circle, on a real Kafka and a real Postgres, with every service a process."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pyarrow as pa
import pytest
from walker import HISTORY_DAYS, Walker, walker
from world import ROWS_A_DAY

from driftloop.addresses import address_of
from driftloop.cli.doors import Refusal, ask
from driftloop_bus.ports import Outgoing
from driftloop_contracts.control_plane import DeploymentChanged, PromotionRefused
from driftloop_contracts.loop import (
    CandidateTrained,
    ChallengerJudged,
    DatasetBuilt,
    DriftDetected,
    RetrainRequested,
    TrainingFailed,
)
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS, dead_letters
from driftloop_local.stack import LocalStack
from flights.demo import records
from flights.stream import Slice

# The alarm comes after two days of the new world, enough outcomes after two more, the look six days later.
QUIET_DAYS = 3
TURNED_DAYS = 11
SERVICES = ("registry", "feature_store", "serving", "monitor", "retrainer", "console")
PARTS = ("monitor", "kafka", "retrainer", "registry", "postgres", "feature_store", "serving", "console")

pytestmark = [pytest.mark.journey, pytest.mark.stack]


def closed(walk: Walker) -> None:
    """One alarm, one request after it, one candidate, one promotion; nobody was turned away."""
    seen = walk.chronicle
    alarms = [event for event in seen.all(DriftDetected) if event.data.kind == "concept_drift"]
    asked = [event for event in seen.all(RetrainRequested) if event.data.incident]
    assert len(alarms) == 1, walk.told
    assert len(asked) == 1, walk.told
    assert asked[0].causation == alarms[0].id
    assert asked[0].time > alarms[0].time, "a retrain is never asked for at the alarm"
    assert Counter(event.data.reason for event in seen.all(DeploymentChanged)) == {
        "first": 1,
        "challenger": 1,
        "promoted": 1,
    }
    assert len(seen.all(CandidateTrained)) == 2, walk.told
    assert seen.all(ChallengerJudged)[-1].data.verdict == "better"
    assert walk.replayer.counts.failed == []


async def drifted(walk: Walker, **changes: Any) -> None:
    """Declared, remembered, first champion; some days as before, then the world turns over."""
    await walk.declare(**changes)
    await walk.remember()
    await walk.first()
    await walk.live(QUIET_DAYS, 1.5)
    await walk.live(TURNED_DAYS, -1.5)


async def test_a_world_that_turns_over_ends_with_a_better_model_serving_and_a_chain_that_says_why(
    circle: LocalStack,
) -> None:
    async with walker(circle, "turned") as walk:
        await drifted(walk)
        closed(walk)
        chain = ask("registry", "/loop/models/turned/why")
        kinds = {link["type"].split(".")[1] + "." + link["type"].split(".")[2] for link in chain}
        assert {
            "drift.detected",
            "retrain.requested",
            "dataset.built",
            "candidate.trained",
            "challenger.judged",
        } <= kinds
        for link in chain:
            assert ask("registry", f"/loop/events/{link['id']}")["id"] == link["id"]
        drift = walk.chronicle.all(DriftDetected)[0]
        outcome = ask("feature_store", f"/history/events/{drift.causation}")
        predicted = ask("feature_store", f"/history/predictions/{outcome['prediction_id']}")
        assert predicted["predictions"], "the first cause is an outcome, and from it one comes to its prediction"


async def test_every_message_twice_changes_nothing(circle: LocalStack) -> None:
    async with walker(circle, "twice") as walk:
        await walk.declare()
        await walk.remember(twice=True)
        await walk.first()

        async def again(piece: Slice) -> None:
            await walk.producer.send_records(list(records.outcomes(piece.outcomes, None, "twice")))

        for slope, days in ((1.5, QUIET_DAYS), (-1.5, TURNED_DAYS)):
            for _ in range(days):
                piece = walk.toy.day(walk.day, slope)
                await walk.live(1, slope)
                # The same requests and the same records once more: the answers are the same, nothing follows.
                await again(piece)
                await walk.replayer.send(replace(piece, weather=piece.weather.slice(0, 0)))
                await walk.replayer.settle()
        closed(walk)
        built = walk.chronicle.all(DatasetBuilt)[0].data
        assert built.manifest.rows == HISTORY_DAYS * ROWS_A_DAY - late_rows(walk), "a row counts once"


def predict(model: str, features: dict[str, Any]) -> httpx.Response:
    """One request."""
    return httpx.post(f"{address_of('serving')}/predict/{model}", json={"features": features}, timeout=10)


def late_rows(walk: Walker) -> int:
    """Rows of the history whose outcome arrived after the first training's until: none, days end before midnight."""
    return sum(
        int(time.as_py().timestamp() >= (walk.toy.day(HISTORY_DAYS, 1.5).start).timestamp())
        for time in walk.toy.history(HISTORY_DAYS).outcomes["time"]
    )


async def test_a_bad_message_among_good_ones_is_parked_with_its_reason_and_the_loop_goes_on(circle: LocalStack) -> None:
    async with walker(circle, "poisoned") as walk:
        await walk.declare()
        await walk.remember()
        await walk.first()
        key = b"poisoned"
        bad = [
            Outgoing(OUTCOMES.name, key, b"\xff\xfe not json"),
            Outgoing(
                OUTCOMES.name,
                key,
                b'{"model":"poisoned","prediction_id":"p","value":NaN,"observed_at":"2024-02-20T00:00:00Z"}',
            ),
            Outgoing(PREDICTIONS.name, key, b'{"model":"poisoned"}'),
            Outgoing(PREDICTIONS.name, key, b"{}", (("ce_id", b"x"), ("ce_type", b"driftloop.nobody.knows.v1"))),
        ]
        await walk.producer.send_records(bad)
        # An outcome that no prediction waits for is kept, counted, and troubles nobody.
        stray = pa.table(
            {
                "prediction_id": ["nobody"],
                "time": walk.toy.day(HISTORY_DAYS, 1.5).outcomes["time"].slice(0, 1),
                "value": [1],
            }
        )
        await walk.producer.send_records(list(records.outcomes(stray, None, "poisoned")))
        await walk.live(QUIET_DAYS, 1.5)
        await walk.live(TURNED_DAYS, -1.5)
        closed(walk)
        ends = await walk.parts.ends(
            [dead_letters(OUTCOMES.name, "monitor"), dead_letters(PREDICTIONS.name, "monitor")]
        )
        assert sum(ends.values()) >= len(bad)


async def test_a_candidate_that_is_worse_than_the_incumbent_is_refused_with_the_reason(circle: LocalStack) -> None:
    async with walker(circle, "worse") as walk:
        await walk.declare()
        await walk.remember()
        await walk.first()
        await walk.declare(train={"entry": "toy_training:train_worse"})
        await walk.live(1, 1.5)
        await walk.command("retrain", until=walk.toy.day(walk.day, 1.5).start.isoformat(), reason="to see it refused")
        await walk.replayer.settle()
        refused = walk.chronicle.all(PromotionRefused)
        assert len(refused) == 1, walk.told
        assert refused[0].data.version == "2"
        deployment = walk.chronicle.deployment()
        assert deployment is not None
        assert deployment.champion is not None
        assert deployment.champion.version == "1"
        assert deployment.challengers == []


async def test_a_training_that_raises_is_told_and_the_champion_goes_on(circle: LocalStack) -> None:
    async with walker(circle, "raising") as walk:
        await walk.declare()
        await walk.remember()
        await walk.first()
        await walk.declare(train={"entry": "toy_training:train_never"})
        await walk.command("retrain", until=walk.toy.day(walk.day, 1.5).start.isoformat())
        await walk.replayer.settle()
        failed = walk.chronicle.all(TrainingFailed)
        assert [(event.data.kind, "upside down" in event.data.reason) for event in failed] == [("raised", True)]
        await walk.live(1, 1.5)
        assert walk.replayer.counts.versions == {"1": ROWS_A_DAY}


async def test_killing_each_part_in_turn_half_way_changes_nothing(circle: LocalStack) -> None:
    async with walker(circle, "killed") as walk:
        await walk.declare()
        await walk.remember()
        await walk.first()
        await walk.live(QUIET_DAYS, 1.5)
        for day in range(TURNED_DAYS):
            if day < len(PARTS):
                circle.kill(PARTS[day])
            await walk.live(1, -1.5)
        circle.wait_until_ready()
        closed(walk)


async def test_services_started_in_any_order_find_each_other(circle: LocalStack) -> None:
    for service in SERVICES:
        circle.hold(service)
    for service in random.Random(7).sample(SERVICES, len(SERVICES)):
        circle.release(service)
    async with walker(circle, "any-order") as walk:
        await walk.declare()
        await walk.remember()
        await walk.first()
        await walk.live(1, 1.5)
        assert walk.replayer.counts.versions == {"1": ROWS_A_DAY}


async def test_nonsense_is_refused_in_words_that_say_what_was_allowed(circle: LocalStack) -> None:
    async with walker(circle, "refused") as walk:
        with pytest.raises(Refusal, match=r"colour"):
            await walk.declare(colour="blue")
        with pytest.raises(Refusal, match=r"not declared|no declaration|unknown"):
            await walk.command("retrain", "nobody-declared-me", until="2024-01-01T00:00:00Z")
        answer = predict("nobody-declared-me", {})
        assert (answer.status_code, "error" in answer.json()) == (404, True)
        await walk.declare()
        await walk.remember()
        await walk.first()
        missing = predict("refused", {"group": "a"})
        assert (missing.status_code, "x" in missing.json()["error"]) == (422, True)
