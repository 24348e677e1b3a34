"""What comes in as nobody would wish: each has a clear end, and the loop goes on."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from services.monitor.tests.test_the_circle import BAD, GOOD, a_served_model
from services.monitor.tests.world import (
    MODEL,
    AWatchedWorld,
    Day,
    at,
    command,
    days,
    declaration,
    declared,
    deployed,
    loss_to_hold,
    of,
    served,
)

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.errors import TryAgain
from driftloop_contracts import AnyEvent, Event, first
from driftloop_contracts.control_plane import CommandRefused, ModelRetired
from driftloop_contracts.data_plane import OutcomeObserved, PredictionMade
from driftloop_contracts.loop import DriftCleared, DriftDetected, MeasurementTaken, RetrainRequested
from monitor.handlers.heard import moment_of
from monitor.ports import Place
from monitor.silence import Ends


def as_history(event: Event[PredictionMade] | Event[OutcomeObserved]) -> Event[PredictionMade] | Event[OutcomeObserved]:
    """The same, loaded from before Driftloop."""
    return replace(event, data=event.data.model_copy(update={"variant": "history"}))  # type: ignore[arg-type]  # either kind


async def test_history_neither_joins_nor_moves_a_clock() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    await world.read([as_history(event) for event in days(30, lambda _: BAD)])
    assert world.said == []
    assert (await world.monitor.states.lock([MODEL]))[MODEL].clocks.watermark == 0


async def test_rows_of_a_model_that_nobody_declared_are_counted_and_kept_out() -> None:
    world = AWatchedWorld()
    assert await world.read(days(2, lambda _: GOOD)) == []
    assert world.notes.undeclared() == {MODEL: 400}
    assert world.store.get("prediction", {}) == {}


async def test_data_waits_until_what_was_declared_before_the_start_is_read() -> None:
    world = AWatchedWorld()
    world.ready = False
    with pytest.raises(TryAgain, match="not read yet"):
        await world.read(days(1, lambda _: GOOD))


class OnceProven(Ends):
    """Silence that is proven when the test says so."""

    silent = False

    def proven(self, model: str, positions: Mapping[Place, int]) -> int | None:
        """What the test says, of the time of the suspicion."""
        if not self.silent:
            return None
        newest_us = self._newest[model]
        self.acquit(model)
        return newest_us


async def test_a_topic_that_fell_silent_holds_the_other_only_until_it_is_proven() -> None:
    world = AWatchedWorld()
    world.silence = silence = OnceProven()
    await a_served_model(world)
    await world.read([e for e in days(6, lambda _: GOOD) if isinstance(e.data, PredictionMade) or e.time < at(3)])
    assert silence.suspects() == [MODEL]
    assert await world.monitor.on_tick(at(0)) == []
    silence.silent = True
    await world.monitor.on_tick(at(0))
    state = (await world.monitor.states.lock([MODEL]))[MODEL]
    # The suspicion rose earlier. What the other topic has told since, the silent one may have told, too, unread.
    assert at(2.9) < moment_of(state.clocks.watermark) < at(5.4)
    await world.monitor.on_tick(at(0))
    state = (await world.monitor.states.lock([MODEL]))[MODEL]
    assert at(5.4) < moment_of(state.clocks.watermark) < at(5.5)


async def test_a_score_that_is_no_probability_is_left_out_of_every_loss() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    for batch in world.batches(days(3, lambda _: GOOD)):
        if isinstance(batch, PredictionBatch):
            batch.scores[::2] = np.nan
            batch.scores[1::4] = 7.0
        world.said += await world.take(batch)
    losses = [e.data for e in of(MeasurementTaken, world.said) if e.data.signal == "loss:brier"]
    rows = [e.data for e in of(MeasurementTaken, world.said) if e.data.signal == "rows"]
    assert losses
    assert all(loss.n <= row.n // 3 for loss, row in zip(losses, rows, strict=True))


async def test_an_outcome_without_a_prediction_is_kept_for_a_month_then_counted_and_gone() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    alone = OutcomeObserved(model=MODEL, prediction_id="nobody", value=True, observed_at=at(0.5))
    await world.read([first(alone, id="alone", time=at(0.5)), *days(40, lambda _: GOOD, rows=50)])
    state = (await world.monitor.states.lock([MODEL]))[MODEL]
    assert state.counts["outcomes_without_prediction"] == 1
    assert not of(DriftDetected, world.said)


@pytest.mark.parametrize("outcomes", [True, False], ids=["without a champion", "without outcomes"])
async def test_where_no_window_closes_old_rows_go_all_the_same_however_the_log_is_cut(outcomes: bool) -> None:
    left = []
    for poll in (250, 100_000):
        world = AWatchedWorld()
        world.silence = silence = OnceProven()
        silence.silent = True
        await world.hear(declared(), *([] if outcomes else [deployed(1, served("1", 0, loss_to_hold()), 0)]))
        events = days(90, lambda _: GOOD, rows=20)
        await world.read([e for e in events if outcomes or isinstance(e.data, PredictionMade)], poll)
        for _ in range(2):
            await world.monitor.on_tick(at(90))
        state = (await world.monitor.states.lock([MODEL]))[MODEL]
        rows = {
            name: sorted(world.store[name].get(MODEL, {})) for name in ("prediction", "outcome") if name in world.store
        }
        assert 0 < len(rows["prediction"]) < 45 * 20 * len(GOOD.skill)
        assert len(rows.get("outcome", [])) < 45 * 20
        left.append((rows, dict(state.counts), state.evicted_us))
    assert left[0] == left[1]


def of_outcomes(events: list[AnyEvent]) -> set[str]:
    """Ids of what rests on outcomes. Blocks count rows as they come: the runner has dropped repeated records by then."""
    of_blocks = {e.id for e in of(MeasurementTaken, events) if e.data.signal.startswith(("latency", "null:"))}
    return {event.id for event in events} - of_blocks


async def test_what_comes_twice_is_judged_once() -> None:
    once, twice = AWatchedWorld(), AWatchedWorld()
    for world, times in ((once, 1), (twice, 2)):
        await a_served_model(world)
        await world.read([event for event in days(9, lambda d: GOOD if d < 3 else BAD) for _ in range(times)])
    assert of_outcomes(once.said) == of_outcomes(twice.said)


async def test_a_version_without_losses_to_hold_gathers_its_own_first_and_says_so() -> None:
    world = AWatchedWorld()
    await world.hear(declared(), deployed(1, served("1", 0), 0))
    await world.read(days(20, lambda _: GOOD))
    assert "brought no losses to hold" in world.notes.models()[MODEL]["watch"]
    await world.read(days(22, lambda d: GOOD if d < 32 else BAD, start=20))
    assert len(of(DriftDetected, world.said)) == 1


async def test_a_window_with_too_few_outcomes_grows_until_it_holds_enough() -> None:
    world = AWatchedWorld()
    await world.hear(declared(), deployed(1, served("1", 0, loss_to_hold(mean=0.08)), 0))
    await world.read(days(6, lambda _: GOOD, rows=15))
    windows = [e.data for e in of(MeasurementTaken, world.said) if e.data.signal == "rows"]
    assert windows
    assert all(window.window_end - window.window_start >= timedelta(days=2) for window in windows)
    assert all(window.n >= 40 for window in windows)


async def test_a_silence_of_a_year_is_passed_over() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    await world.read([*days(3, lambda _: GOOD), *days(3, lambda _: GOOD, start=400)])
    ends = [e.data.window_end for e in of(MeasurementTaken, world.said) if e.data.signal == "rows"]
    assert max(ends) > at(400)


def in_2099(event: AnyEvent) -> AnyEvent:
    """The same, with a wrong date."""
    wrong = {"observed_at": at(31_000)} if isinstance(event.data, OutcomeObserved) else {"prediction_id": "wrong"}
    return replace(event, id=f"{event.id}-2099", time=at(31_000), data=event.data.model_copy(update=wrong))


@pytest.mark.parametrize("poll", [1, 37, 5_000])
async def test_rows_dated_2099_among_good_ones_change_nothing_but_a_count(poll: int) -> None:
    good = days(9, lambda d: GOOD if d < 3 else BAD)
    with_wrong = [
        e for i, event in enumerate(good) for e in ([in_2099(event), event] if i % 211 in (0, 90) else [event])
    ]
    clean, wrong = AWatchedWorld(), AWatchedWorld()
    for world, events in ((clean, good), (wrong, with_wrong)):
        await a_served_model(world)
        await world.read(events, poll)
    states = [(await world.monitor.states.lock([MODEL]))[MODEL] for world in (clean, wrong)]
    left_out = states[1].counts
    assert left_out["predictions_far_ahead"] + left_out["outcomes_far_ahead"] == len(with_wrong) - len(good)
    assert min(left_out["predictions_far_ahead"], left_out["outcomes_far_ahead"]) > 0
    assert states[0].clocks.watermark == states[1].clocks.watermark
    assert of(DriftDetected, clean.said)
    assert [event.id for event in wrong.said] == [event.id for event in clean.said]


async def test_a_command_is_answered_with_or_without_a_champion_and_waits_for_its_declaration() -> None:
    world = AWatchedWorld()
    assert await world.hear(command(until_days=-5)) == []
    (wish,) = await world.hear(declared())
    assert isinstance(wish.data, RetrainRequested)
    assert (wish.causation, wish.data.version, wish.data.loss_to_beat) == ("command-retrain", None, None)
    assert (wish.data.window.until, wish.time) == (at(-5), at(0))


async def test_a_command_for_a_model_that_nobody_declares_is_refused_in_words() -> None:
    world = AWatchedWorld()
    await world.hear(command())
    assert await world.monitor.on_tick(at(0) + timedelta(seconds=5)) == []
    (answer,) = await world.monitor.on_tick(at(0) + timedelta(seconds=20))
    assert isinstance(answer.data, CommandRefused)
    assert "apply its document" in answer.data.reason
    assert await world.monitor.on_tick(at(1)) == []


async def test_a_command_on_a_frozen_model_is_refused_and_others_are_not_ours() -> None:
    world = AWatchedWorld()
    await world.hear(declared(), deployed(1, served("1", 0, loss_to_hold()), 0, frozen=True))
    assert await world.hear(command("apply")) == []
    (answer,) = await world.hear(command())
    assert isinstance(answer.data, CommandRefused)
    assert "unfreeze" in answer.data.reason


async def test_a_retired_model_is_watched_no_more() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    await world.read(days(5, lambda _: BAD))
    retired = ModelRetired(model=MODEL, reason="done", retired_by="ada")
    (cleared,) = await world.hear(first(retired, id="retired", time=at(5)))
    assert isinstance(cleared.data, DriftCleared)
    assert await world.read(days(5, lambda _: BAD, start=5)) == []


async def test_an_older_deployment_that_comes_late_changes_nothing() -> None:
    world = AWatchedWorld()
    await world.hear(declared(), deployed(3, served("2", 2, loss_to_hold()), 2))
    assert await world.hear(deployed(2, served("1", 0, loss_to_hold()), 0)) == []
    state = (await world.monitor.states.lock([MODEL]))[MODEL]
    assert state.served is not None
    assert (state.revision, state.served.version) == (3, "2")


async def test_a_deployment_before_its_declaration_waits_for_it() -> None:
    world = AWatchedWorld()
    await world.hear(deployed(1, served("1", 0, loss_to_hold(mean=0.08)), 0), declared())
    said = await world.read(days(4, lambda _: BAD))
    assert len(of(DriftDetected, said)) == 1


async def test_the_age_of_the_version_asks_for_a_retrain() -> None:
    world = AWatchedWorld()
    document = declaration(retrain={"fresh_outcomes": 250, "also_every": "10d"})
    await world.hear(declared(document), deployed(1, served("1", 0, loss_to_hold(mean=0.08)), 0))
    said = await world.read(days(14, lambda _: GOOD))
    (wish,) = of(RetrainRequested, said)
    assert (wish.time, wish.causation, wish.data.incident) == (at(10), "deployment-1", None)


async def test_a_version_that_rests_on_a_segment_says_which() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    await world.read(days(2, lambda _: Day(skill={"1": 0.4})))
    rows = await world.monitor.rows.joined(MODEL, ["1"], 0, 2**62)
    assert set(rows.slices) == {"site=EWR", "site=JFK"}


async def test_a_declarations_topic_that_is_heard_again_undoes_nothing() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    await world.read(days(4, lambda _: GOOD))
    sharper = declaration(retrain={"fresh_outcomes": 99, "cooldown": "1d", "max_per_day": 4})
    retired = first(ModelRetired(model=MODEL, reason="done", retired_by="ada"), id="retired", time=at(4))
    topic = [declared(), declared(sharper, 4.1), retired, declared(sharper, 4.2)]
    await world.hear(*topic)
    before = (await world.monitor.states.lock([MODEL]))[MODEL]
    assert before.rules is not None
    assert (before.rules.fresh_outcomes, before.retired) == (99, False)
    assert await world.hear(*topic) == []
    assert (await world.monitor.states.lock([MODEL]))[MODEL] == before


async def test_outcomes_that_come_a_day_late_are_counted_aside_and_meet_their_prediction_in_the_open_window() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    story = days(4, lambda _: GOOD)
    late = {f"o-1-{row}" for row in range(0, 100, 10)}
    await world.read([event for event in story if event.id not in late])
    told = {(fact.window_end, fact.mean) for fact in _rows_of(world)}
    await world.read([*(event for event in story if event.id in late), *days(2, lambda _: GOOD, start=4)])
    state = (await world.monitor.states.lock([MODEL]))[MODEL]
    assert state.counts["outcomes_late"] == len(late)
    assert "predictions_late" not in state.counts
    ends = [fact.window_end for fact in _rows_of(world)]
    assert len(ends) == len(set(ends)) > len(told)
    assert told <= {(fact.window_end, fact.mean) for fact in _rows_of(world)}


def _rows_of(world: AWatchedWorld) -> list[MeasurementTaken]:
    return [event.data for event in of(MeasurementTaken, world.said) if event.data.signal == "rows"]


async def test_only_its_own_clock_says_how_long_a_command_has_waited() -> None:
    world = AWatchedWorld()
    await world.hear(command())
    # Three days ahead of whoever wrote the command: it has waited for nothing yet.
    assert await world.monitor.on_tick(at(3)) == []
    (wish,) = await world.hear(declared())
    assert isinstance(wish.data, RetrainRequested)
