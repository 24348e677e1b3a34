"""What the monitor says when a model's world moves, and when it does not."""

from services.monitor.tests.world import (
    MODEL,
    AWatchedWorld,
    Day,
    at,
    challenger,
    days,
    declaration,
    declared,
    deployed,
    loss_to_hold,
    of,
    served,
)

from driftloop_contracts import caused
from driftloop_contracts.control_plane import PreviousVersion
from driftloop_contracts.loop import (
    ChallengerJudged,
    DriftCleared,
    DriftDetected,
    MeasurementTaken,
    RetrainRequested,
    RetrainSuppressed,
    RollbackAdvised,
    TrainingFailed,
)

GOOD = Day(skill={"1": 0.4})
BAD = Day(skill={"1": -0.3})


async def a_served_model(world: AWatchedWorld) -> None:
    await world.hear(declared(), deployed(1, served("1", 0, loss_to_hold(mean=0.08)), 0))


async def test_a_world_that_stands_still_raises_nothing() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    said = await world.read(days(20, lambda _: GOOD))
    assert of(MeasurementTaken, said)
    assert not of(DriftDetected, said)
    assert not of(RetrainRequested, said)


async def test_the_alarm_comes_at_once_and_the_request_only_after_fresh_outcomes() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    said = await world.read(days(20, lambda day: GOOD if day < 8 else BAD))
    (alarm,) = of(DriftDetected, said)
    (wish,) = of(RetrainRequested, said)
    assert alarm.data.signal.name == "brier"
    assert alarm.data.kind == "concept_drift"
    assert at(8) < alarm.time < at(12)
    assert alarm.data.onset.since <= at(8) <= alarm.data.onset.until
    assert alarm.data.effects[0].after > alarm.data.effects[0].before
    assert alarm.data.recommendation.action == "collect_labels"
    assert wish.causation == alarm.id
    assert wish.data.incident == alarm.data.incident
    assert wish.data.window.until == wish.time
    assert wish.time > alarm.time
    outcomes = [e for e in days(20, lambda _: GOOD) if e.id.startswith("o-") and alarm.time < e.time <= wish.time]
    assert len(outcomes) == 250
    assert outcomes[-1].id in wish.data.reason


async def test_a_version_that_is_bad_from_its_first_row_is_found() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    said = await world.read(days(4, lambda _: BAD))
    assert len(of(DriftDetected, said)) == 1


async def test_a_frozen_model_alarms_but_asks_for_nothing_until_it_is_thawed() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    await world.hear(deployed(2, served("1", 0, loss_to_hold(mean=0.08)), 1, frozen=True))
    said = await world.read(days(14, lambda _: BAD))
    assert len(of(DriftDetected, said)) == 1
    (held,) = of(RetrainSuppressed, said)
    assert "frozen" in held.data.reason
    assert not of(RetrainRequested, said)
    thawed = await world.hear(deployed(3, served("1", 0, loss_to_hold(mean=0.08)), 14))
    assert len(of(RetrainRequested, thawed)) == 1


async def test_a_challenger_is_judged_at_its_looks_and_a_promotion_clears_the_incident() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    both = Day(skill={"1": -0.3, "2": 0.5})
    await world.read(days(5, lambda _: BAD))
    await world.hear(deployed(2, served("1", 0, loss_to_hold(mean=0.08)), 5, challenger("2", 5)))
    said = await world.read(days(8, lambda _: both, start=5))
    (look,) = of(ChallengerJudged, said)
    assert look.causation == "deployment-2"
    assert look.time == at(12)
    assert (look.data.verdict, look.data.look, look.data.of) == ("better", 1, 2)
    assert look.data.lower > 0
    assert look.data.challenger_loss < look.data.floors["last_24h_rate"]
    previous = PreviousVersion(**served("1", 0).model_dump(), shadow_until=at(40))
    promoted = deployed(3, served("2", 12, loss_to_hold(mean=0.06)), 12, previous=previous)
    (cleared,) = of(DriftCleared, await world.hear(promoted))
    assert cleared.causation == "deployment-3"
    later = await world.read(days(12, lambda _: Day(skill={"2": 0.5, "1": -0.3}), start=13))
    assert not of(DriftDetected, later)
    gains = [e.data for e in of(MeasurementTaken, later) if e.data.signal == "gain:log_loss"]
    assert gains
    assert all(gain.version == "2" and gain.mean > 0 for gain in gains)


async def test_a_promotion_that_was_a_mistake_is_said_after_a_week() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    previous = PreviousVersion(**served("1", 0).model_dump(), shadow_until=at(30))
    # Held to a bar as bad as it is: the watch alone would never find it.
    await world.hear(deployed(2, served("2", 2, loss_to_hold(mean=0.35, spread=0.05)), 2, previous=previous))
    said = await world.read(days(12, lambda _: Day(skill={"2": -0.3, "1": 0.4})))
    (advice,) = of(RollbackAdvised, said)
    assert (advice.data.version, advice.data.previous, advice.time) == ("2", "1", at(9))
    assert advice.causation == "deployment-2"


async def test_when_the_loss_comes_back_the_incident_is_over_and_nothing_is_asked() -> None:
    world = AWatchedWorld()
    document = declaration(retrain={"fresh_outcomes": 100_000})
    await world.hear(declared(document), deployed(1, served("1", 0, loss_to_hold(mean=0.1, spread=0.04)), 0))
    said = await world.read(days(20, lambda day: BAD if day in (3, 4) else GOOD))
    assert len(of(DriftDetected, said)) == len(of(DriftCleared, said)) == 1
    (given_up,) = of(RetrainSuppressed, said)
    assert "came back" in given_up.data.reason
    assert not of(RetrainRequested, said)


async def test_a_training_that_failed_is_followed_by_another_after_twice_the_wait() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    (wish,) = of(RetrainRequested, await world.read(days(8, lambda _: BAD)))
    failure = TrainingFailed(model=MODEL, request_id=wish.id, reason="it raised", kind="raised")
    await world.hear(caused(failure, wish.as_cause()))
    (again,) = of(RetrainRequested, await world.read(days(8, lambda _: BAD, start=8)))
    assert (again.data.attempt, again.causation) == (2, wish.causation)
    assert again.id != wish.id
    assert again.data.reason.startswith("500 outcomes")
