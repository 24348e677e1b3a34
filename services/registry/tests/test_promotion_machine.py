"""Candidates, looks and commands in any order, twice, late, and around deaths: what always holds of a promotion."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from services.registry.tests.world import JUNE, MODEL, a_registry, candidate, command, document, judged
from tests.machines import Played, found, play
from tests.rooms import Fate, Hear, Room

from driftloop_bus.ports import Transaction
from driftloop_bus.testing import MemoryLedger
from driftloop_contracts.control_plane import DeploymentChanged, VersionRegistered
from driftloop_contracts.event import AnyEvent
from registry.domain.deployment import Deployment, Rollout
from registry.handlers import Registry
from registry.ports import Standing
from registry.store.memory import MemoryAudit, MemoryChain, MemoryModels

VERSIONS = st.sampled_from(["1", "2", "3", "4"])
GAINS = st.sampled_from([-0.1, 0.3, 0.3])
# What makes a version answer, once; a rollback may bring it back.
LED_IN = ("first", "promoted")
HEARD = {
    "CandidateTrained": "on_candidate_trained",
    "ChallengerJudged": "on_challenger_judged",
    "CommandGiven": "on_command_given",
}


async def hear(state: dict[Any, Any], event: AnyEvent) -> list[AnyEvent]:
    """What follows, by a registry that lives for one transaction."""
    followed: list[AnyEvent] = await getattr(a_registry(state), HEARD[type(event.data).__name__])(event)
    return followed


class Promotions(Played):
    """Messages wait on a topic; each is delivered whenever chance wants it, as often as chance wants it."""

    ledger_class: type[MemoryLedger] = MemoryLedger
    hear: Hear = staticmethod(hear)

    def __init__(self) -> None:
        super().__init__()
        self.room, self.now = Room(self.hear, self.ledger_class()), JUNE
        self.told: list[AnyEvent] = []
        self.waiting: list[AnyEvent] = []
        self.do(self.room.deliver(command("apply", JUNE, document=document())))

    @initialize(compared=st.booleans())
    def begin(self, compared: bool) -> None:
        """Nothing is deployed; or a first version answers and a second is compared with it."""
        for _ in range(2 * compared):
            self.train(0.3)
            self.deliver(1)
        if compared:
            self.judge(1, 0.3, 0.3, True)

    @rule(gain=GAINS)
    def train(self, gain: float) -> None:
        """A candidate was trained."""
        name = f"candidate-{len(self.told)}"
        self.tell(candidate(name, self.next(), gain=gain, incumbent_version=self.champion() or "1"))

    @rule(look=st.sampled_from([1, 2, 2]), gain=GAINS, lower=GAINS, floor_met=st.sampled_from([True, True, False]))
    def judge(self, look: int, gain: float, lower: float, floor_met: bool) -> None:
        """The monitor has looked at the rollout that runs now; it may be over when that is heard."""
        rollout, at = self.rollout(), self.next()
        version, since = (rollout.version, rollout.since) if rollout else ("2", at)
        floors = {"last_24h_rate": 0.629 if floor_met else 0.1}
        fields: dict[str, Any] = {"gain": gain, "lower": lower, "floors": floors, "since": since, "of": 2}
        judgement = judged(version, look, at, champion=self.champion() or "1", **fields)
        self.tell(replace(judgement, id=f"look-{len(self.told)}"))

    @rule(name=st.sampled_from(["freeze", "unfreeze", "unfreeze", "rollback", "rollback"]))
    def ask(self, name: str) -> None:
        """A person asks for something."""
        self.tell(command(name, self.next()))

    @precondition(lambda self: self.waiting)
    @rule(messages=st.integers(1, 5))
    def deliver(self, messages: int) -> None:
        """The next messages have their effects."""
        for event in self.waiting[:messages]:
            self.do(self.room.deliver(event))
        del self.waiting[:messages]

    @precondition(lambda self: self.waiting)
    @rule()
    def drop_ack(self) -> None:
        """It is committed, nobody hears of it, and it comes once more."""
        self.do(self.room.deliver(self.waiting[0], "drop_ack"))

    @precondition(lambda self: self.waiting)
    @rule(fate=st.sampled_from(["before_commit", "after_commit"]))
    def crash(self, fate: Fate) -> None:
        """The registry dies around the commit, and the message comes once more."""
        self.do(self.room.deliver(self.waiting[0], fate))

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def duplicate(self, data: st.DataObject) -> None:
        """Something old is on its topic once more."""
        self.waiting.append(self.told[data.draw(st.integers(0, len(self.told) - 1))])

    @precondition(lambda self: len(self.waiting) > 1)
    @rule(data=st.data())
    def reorder(self, data: st.DataObject) -> None:
        """Messages of different topics overtake each other."""
        self.waiting.insert(0, self.waiting.pop(data.draw(st.integers(1, len(self.waiting) - 1))))

    @rule(hours=st.integers(-72, 72))
    def clock_jump(self, hours: int) -> None:
        """Whoever writes has another time from now on."""
        self.now += timedelta(hours=hours)

    @invariant()
    def the_revision_grows_by_one_with_each_change(self) -> None:
        changes = self.changes()
        assert [fact.revision for fact in changes] == list(range(1, len(changes) + 1))
        assert len({event.id for event in self.room.said}) == len(self.room.said), "an event was said twice"

    @invariant()
    def a_candidate_is_registered_once_and_promoted_once(self) -> None:
        said = [event.data for event in self.room.said]
        registered = Counter(fact.version for fact in said if isinstance(fact, VersionRegistered))
        promoted = Counter(fact.champion.version for fact in self.changes() if fact.champion and fact.reason in LED_IN)
        assert set(registered.values()) <= {1}, f"registered: {registered}"
        assert set(promoted.values()) <= {1}, f"promoted: {promoted}"
        assert promoted.keys() <= registered.keys()

    @invariant()
    def one_challenger_at_most_and_never_the_champion(self) -> None:
        for fact in self.changes():
            challengers = [one.version for one in fact.challengers]
            assert len(challengers) <= 1
            assert fact.champion is None or fact.champion.version not in challengers
            assert fact.reason != "promoted" or not fact.frozen

    def teardown(self) -> None:
        """The rest is heard; a registry that hears the same in the same order without a fault stands where this one does."""
        try:
            for event in self.waiting:
                self.do(self.room.deliver(event))
            self.the_revision_grows_by_one_with_each_change()
            self.a_candidate_is_registered_once_and_promoted_once()
            calm = Room(hear)
            for event in self.room.heard:
                self.do(calm.deliver(event))
            assert calm.ledger.store == self.room.ledger.store
            assert calm.said == self.room.said
            self.steps.update(fact.reason for fact in self.changes())
        finally:
            super().teardown()

    def tell(self, event: AnyEvent) -> None:
        self.told.append(event)
        self.waiting.append(event)

    def next(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now

    def changes(self) -> list[DeploymentChanged]:
        return [event.data for event in self.room.said if isinstance(event.data, DeploymentChanged)]

    def deployment(self) -> Deployment:
        standing: Standing = self.room.ledger.store.get(("standing", MODEL), Standing())
        return standing.deployment

    def champion(self) -> str | None:
        champion = self.deployment().champion
        return champion.version if champion else None

    def rollout(self) -> Rollout | None:
        return self.deployment().rollout


class Forgetful(MemoryLedger):
    """A ledger whose inbox remembers nothing."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        self.state.inbox.clear()
        async with super().transaction() as tx:
            yield tx


class Hurried(MemoryModels):
    """Models that count no revision for a change that a person asked for."""

    async def stand(self, model: str, standing: Standing) -> None:
        known = (await self.standing(model)).deployment
        same = known.frozen != standing.deployment.frozen
        after = replace(standing.deployment, revision=known.revision) if same else standing.deployment
        await super().stand(model, replace(standing, deployment=after))


async def hear_hurriedly(state: dict[Any, Any], event: AnyEvent) -> Sequence[AnyEvent]:
    registry = Registry(Hurried(state), MemoryChain(state), MemoryAudit(state))
    followed: list[AnyEvent] = await getattr(registry, HEARD[type(event.data).__name__])(event)
    return followed


def test_a_candidate_is_promoted_once_and_the_revision_grows_by_one() -> None:
    play(Promotions, examples=200)
    # A machine that never comes there proves nothing of it.
    assert Promotions.steps.keys() >= {
        "first",
        "challenger",
        "promoted",
        "refused",
        "rolled back",
        "frozen",
        "unfrozen",
    }


@pytest.mark.parametrize("planted", [{"ledger_class": Forgetful}, {"hear": staticmethod(hear_hurriedly)}])
def test_the_machine_is_seen_to_bite(planted: dict[str, Any]) -> None:
    assert "DRIFTLOOP_SEED=" in found(type("Planted", (Promotions,), planted), examples=300)
