"""A verdict may not depend on where a poll cut the log, nor on which of the two topics was read first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.monitor.tests.world import (
    AWatchedWorld,
    Day,
    challenger,
    days,
    declared,
    deployed,
    loss_to_hold,
    served,
)

from driftloop_contracts import AnyEvent, Event
from driftloop_contracts.data_plane import OutcomeObserved, PredictionMade

DAYS = 11
TURN = 4
BOTH = Day(skill={"1": -0.3, "2": 0.5})
Said = list[tuple[object, ...]]


@cache
def log() -> list[AnyEvent]:
    """Eleven days: the world moves on the fourth day, outcomes of some rows come late, twice or corrected, in disorder."""
    events = days(DAYS, lambda day: Day(skill={"1": 0.4, "2": 0.4}) if day < TURN else BOTH, rows=60)
    outcomes = [i for i, event in enumerate(events) if isinstance(event.data, OutcomeObserved)]
    for place, i in enumerate(outcomes):
        if place % 17 == 0:
            # Comes after outcomes that were observed later, across window closes now and then.
            j = min(len(events) - 1, i + 40 + place % 13)
            events.insert(j, events.pop(i))
        if place % 23 == 0:
            data = events[i].data
            if isinstance(data, OutcomeObserved):
                again = data.model_copy(update={"revision": 1, "value": not data.value})
                events.insert(min(len(events), i + 90), Event(f"again-{place}", events[i].time, again))
    return events


def of_topic(kind: type) -> list[AnyEvent]:
    return [event for event in log() if isinstance(event.data, kind)]


async def said_of(cuts: Sequence[tuple[str, int]]) -> Said:
    """What the monitor says when it reads these pieces of its two topics, in this order, and then the rest.

    Once of a champion alone, once of one with a shadow beside it: while one is compared no other is asked for.
    """
    said: Said = []
    for shadow in (None, challenger("2", 1, looks=(5, 9))):
        world = AWatchedWorld()
        await world.hear(declared(), deployed(1, served("1", 0, loss_to_hold(mean=0.09)), 0, shadow))
        rest = {"p": of_topic(PredictionMade), "o": of_topic(OutcomeObserved)}
        for topic, size in [*cuts, ("p", DAYS * 1_000), ("o", DAYS * 1_000)]:
            piece, rest[topic] = rest[topic][:size], rest[topic][size:]
            await world.read(piece, poll=len(piece) or 1)
        said += [shape(event) for event in world.said]
    return said


def shape(event: AnyEvent) -> tuple[object, ...]:
    """All of the event but the offsets that it names: they say how far the reader was, and may be further."""
    data = event.data.model_dump(mode="json")
    if "window" in data:
        data["window"].pop("offsets")
    return event.id, event.time, event.causation, event.correlation, type(event.data).__name__, repr(data)


def in_step(pieces: int) -> list[tuple[str, int]]:
    """Both topics in step, each in so many pieces."""
    totals = {"p": len(of_topic(PredictionMade)), "o": len(of_topic(OutcomeObserved))}
    return [
        (topic, total * (i + 1) // pieces - total * i // pieces)
        for i in range(pieces)
        for topic, total in totals.items()
    ]


@cache
def expected() -> Said:
    said = asyncio.run(said_of(in_step(60)))
    kinds = [one[4] for one in said]
    assert kinds.count("DriftDetected") == 2
    assert kinds.count("RetrainRequested") == 1
    assert kinds.count("ChallengerJudged") == 2
    return said


@pytest.mark.parametrize("pieces", [14, 23, 400])
def test_however_the_log_is_cut_the_same_events_follow(pieces: int) -> None:
    assert asyncio.run(said_of(in_step(pieces))) == expected()


# Both topics are cut anywhere, but neither is read a day ahead of the other: then it would be taken for silent.
@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 0.05), st.floats(0, 0.02), st.booleans()), min_size=1, max_size=60))
def test_whatever_the_polls_and_the_order_of_the_topics(steps: list[tuple[float, float, bool]]) -> None:
    totals = {"p": len(of_topic(PredictionMade)), "o": len(of_topic(OutcomeObserved))}
    read, reached, cuts = {"p": 0, "o": 0}, 0.0, list[tuple[str, int]]()
    for step, apart, swapped in steps:
        reached += step
        for topic in ("o", "p") if swapped else ("p", "o"):
            ahead = apart if (topic == "o") == swapped else 0.0
            upto = max(read[topic], min(totals[topic], int(totals[topic] * (reached + ahead))))
            cuts.append((topic, upto - read[topic]))
            read[topic] = upto
    rest = 40
    for i in range(rest):
        for topic, total in totals.items():
            piece = (total - read[topic]) * (i + 1) // rest - (total - read[topic]) * i // rest
            cuts.append((topic, piece))
    assert asyncio.run(said_of(cuts)) == expected()
