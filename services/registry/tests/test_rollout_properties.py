"""Whatever comes, in whatever order, twice or late: what always holds of a deployment."""

import asyncio
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from services.registry.tests.world import JUNE, candidate, command, declared, judged

from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.event import AnyEvent
from registry.handlers import Registry

HOUR = timedelta(hours=1)
VERSIONS = st.sampled_from(["1", "2", "3", "4"])
STEPS = st.one_of(
    st.tuples(st.just("candidate"), st.floats(-0.2, 0.4)),
    st.tuples(
        st.just("look"),
        VERSIONS,
        VERSIONS,
        st.integers(1, 2),
        st.floats(-0.2, 0.4),
        st.floats(-0.2, 0.4),
        st.booleans(),
    ),
    st.tuples(st.just("command"), st.sampled_from(["freeze", "unfreeze", "rollback", "retrain"])),
)


def message(number: int, step: tuple[Any, ...]) -> AnyEvent:
    """The step as an event; its time is its number."""
    at = JUNE + number * HOUR
    match step:
        case ("candidate", gain):
            return candidate(f"candidate-{number}", at, gain=gain, incumbent_version="1")
        case ("look", version, champion, look, gain, lower, floor_met):
            floors = {"last_24h_rate": 0.629 if floor_met else 0.1}
            return judged(version, look, at, champion=champion, gain=gain, lower=lower, floors=floors)
        case _:
            return command(step[1], at)


async def heard(registry: Registry, event: AnyEvent) -> list[AnyEvent]:
    """What follows."""
    match type(event.data).__name__:
        case "CandidateTrained":
            return await registry.on_candidate_trained(event)
        case "ChallengerJudged":
            return await registry.on_challenger_judged(event)
        case _:
            return await registry.on_command_given(event)


async def lived(steps: list[tuple[Any, ...]]) -> list[tuple[AnyEvent, DeploymentChanged]]:
    """Every deployment that followed, with its cause."""
    registry, changes = await declared(), []
    for number, step in enumerate(steps):
        event = message(number, step)
        changes += [
            (event, follows.data)
            for follows in await heard(registry, event)
            if isinstance(follows.data, DeploymentChanged)
        ]
    return changes


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_what_always_holds_of_a_deployment(steps: list[tuple[Any, ...]]) -> None:
    changes = asyncio.run(lived(steps))
    assert [fact.revision for _, fact in changes] == list(range(1, len(changes) + 1))
    for cause, fact in changes:
        challengers = [challenger.version for challenger in fact.challengers]
        assert len(challengers) <= 1
        if fact.champion is not None:
            assert fact.champion.version not in challengers
            assert fact.ceiling is not None
            assert fact.previous is None or fact.previous.version != fact.champion.version
        if fact.reason == "promoted":
            assert cause.data.lower > 0
            assert cause.data.challenger_loss < cause.data.floors["last_24h_rate"]
            assert not fact.frozen
    ceilings = {fact.ceiling.mean for _, fact in changes if fact.ceiling is not None}
    assert len(ceilings) <= 1


@settings(max_examples=50, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_the_same_messages_on_another_machine_give_the_same_deployments(steps: list[tuple[Any, ...]]) -> None:
    assert asyncio.run(lived(steps)) == asyncio.run(lived(steps))


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS.filter(lambda step: step[0] != "command"), max_size=15))
def test_candidates_and_looks_that_come_twice_change_nothing_more(steps: list[tuple[Any, ...]]) -> None:
    async def twice() -> list[DeploymentChanged]:
        registry, seen = await declared(), {}
        for number, step in enumerate(steps):
            for _ in range(2):
                for follows in await heard(registry, message(number, step)):
                    if isinstance(follows.data, DeploymentChanged):
                        seen[follows.id] = follows.data
        return list(seen.values())

    assert asyncio.run(twice()) == [fact for _, fact in asyncio.run(lived(steps))]
