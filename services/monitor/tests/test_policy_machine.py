"""Worlds that change, trainings that end well or badly, freezes and deaths: what always holds of a request to retrain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from services.monitor.tests.world import (
    MODEL,
    AWatchedWorld,
    Day,
    at,
    challenger,
    command,
    day_events,
    declaration,
    declared,
    deployed,
    in_memory,
    loss_to_hold,
    served,
)
from tests.machines import Played, found, play
from tests.rooms import Fate, Room

from driftloop_bus.batches import OutcomeBatch, PredictionBatch
from driftloop_bus.ports import Transaction
from driftloop_bus.testing import MemoryLedger
from driftloop_contracts import AnyEvent, first
from driftloop_contracts.loop import CandidateTrained, RetrainRequested, TrainingFailed
from monitor.domain import policy
from monitor.domain.state import ModelState
from monitor.handlers import Monitor
from monitor.store.kept import state_from_json
from monitor.store.memory import MemoryPositions

QUICK = declaration(
    monitor={"trigger": {"loss": "brier", "window": "1d", "closes": "09:00Z", "min_outcomes": 8}},
    retrain={"fresh_outcomes": 15, "cooldown": "1d", "max_per_day": 4},
)
BAR = loss_to_hold(mean=0.09, spread=0.02)
ROWS = 10
FATES = st.sampled_from(["drop_ack", "before_commit", "after_commit"])


@dataclass(frozen=True)
class Piece:
    """What one poll brings of one data topic."""

    id: str
    batch: PredictionBatch | OutcomeBatch


class Policies(Played):
    """A monitor hears days and decisions from topics that overtake each other."""

    ledger_class: type[MemoryLedger] = MemoryLedger

    def __init__(self) -> None:
        super().__init__()
        self.world = AWatchedWorld(as_far_as_read)
        self.room = Room(self.hear, self.ledger_class())
        self.day, self.revision, self.versions, self.number = 0, 1, 1, 0
        self.shift = timedelta(0)
        self.data: list[Piece] = []
        self.control: list[AnyEvent] = []
        self.old: list[AnyEvent] = []
        self.broken = ""

    async def hear(self, store: dict[Any, Any], heard: Any) -> list[AnyEvent]:
        """What follows, by a monitor that lives for one transaction."""
        self.world.store = store
        said = await (self.world.take(heard.batch) if isinstance(heard, Piece) else self.world.hear(heard))
        if isinstance(heard, Piece):
            place = (heard.batch.topic, heard.batch.partition)
            store.setdefault("read", {})[place] = int(heard.batch.offsets.max()) + 1
        state = state_from_json(store["model_state"][MODEL]) if "model_state" in store else ModelState(MODEL)
        if state.frozen and any(isinstance(event.data, RetrainRequested) for event in said):
            self.broken = f"asked although frozen: {heard.id}"
        return said

    @initialize(skill=st.sampled_from([0.4, -0.3, -0.3]))
    def begin(self, skill: float) -> None:
        """A model serves; more often than not its world has turned around already."""
        for event in (declared(QUICK), deployed(1, served("1", 0, BAR), 0)):
            self.do(self.room.deliver(event))
        self.days_on(skill, 6)
        self.deliver(len(self.data))

    @rule(skill=st.sampled_from([0.4, -0.3, -0.3]), count=st.integers(2, 5))
    def days_pass(self, skill: float, count: int) -> None:
        """The world goes on, as the version expects it or turned around."""
        self.days_on(skill, count)

    def days_on(self, skill: float, count: int) -> None:
        for _ in range(count):
            day = Day(skill={str(self.versions): skill})
            for batch in self.world.batches(day_events(self.day, day, rows=ROWS)):
                self.number += 1
                self.data.append(Piece(f"piece-{self.number}", batch))
            self.day += 1

    @precondition(lambda self: self.requests())
    @rule(data=st.data(), well=st.sampled_from([False, False, True]))
    def training_ends(self, data: st.DataObject, well: bool) -> None:
        """A request, now and then an old one, has led to a candidate or to nothing."""
        requests = self.requests()
        wish = requests[-1 - data.draw(st.integers(0, min(1, len(requests) - 1)))]
        self.tell(
            candidate(wish.id) if well else TrainingFailed(model=MODEL, request_id=wish.id, reason="", kind="raised")
        )

    @rule(what=st.sampled_from(["promoted", "challenger", "frozen", "thawed", "thawed"]))
    def deployment_changes(self, what: str) -> None:
        """The registry has decided something."""
        self.revision += 1
        self.versions += what == "promoted"
        champion = served(str(self.versions), self.day, BAR)
        rival = challenger(str(self.versions + 1), self.day) if what == "challenger" else None
        self.queue(deployed(self.revision, champion, self.day, rival, frozen=what == "frozen", reason=what))

    @rule()
    def a_person_asks(self) -> None:
        """For a retrain, at any time."""
        self.number += 1
        self.queue(replace(command(), id=f"command-{self.number}", time=at(self.day) + self.shift))

    @precondition(lambda self: self.control)
    @rule(decisions=st.integers(1, 4))
    def deliver_decisions(self, decisions: int) -> None:
        for event in self.control[:decisions]:
            self.do(self.room.deliver(event))
        del self.control[:decisions]

    @precondition(lambda self: self.data)
    @rule(pieces=st.integers(2, 12))
    def deliver(self, pieces: int) -> None:
        for piece in self.data[:pieces]:
            self.do(self.room.deliver(piece))
        del self.data[:pieces]

    @precondition(lambda self: self.data or self.control)
    @rule(fate=FATES)
    def crash(self, fate: Fate) -> None:
        """The monitor dies around a commit, or nobody hears of it: the next record comes again."""
        self.do(self.room.deliver((self.control or self.data)[0], fate))
        self.world.notes, self.world.silence = AWatchedWorld().notes, AWatchedWorld().silence

    @precondition(lambda self: self.control)
    @rule()
    def drop_ack(self) -> None:
        """A decision is committed, nobody hears of it, and it comes once more."""
        self.do(self.room.deliver(self.control[0], "drop_ack"))

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def duplicate(self, data: st.DataObject) -> None:
        """An old decision is on its topic once more."""
        self.control.append(self.old[data.draw(st.integers(0, len(self.old) - 1))])

    @precondition(lambda self: len(self.control) > 1)
    @rule()
    def reorder(self) -> None:
        """Decisions of different topics overtake each other."""
        self.control.append(self.control.pop(0))

    @rule(hours=st.integers(-48, 48))
    def clock_jump(self, hours: int) -> None:
        """Trainers and people have another time than the world from now on."""
        self.shift += timedelta(hours=hours)

    @invariant()
    def no_request_is_made_twice(self) -> None:
        ids = [event.id for event in self.room.said]
        assert len(ids) == len(set(ids)), "an event was said twice"
        places = [(wish.data.incident, wish.data.attempt) for wish in self.automatic() if wish.data.incident]
        assert len(places) == len(set(places)), f"asked twice: {places}"

    @invariant()
    def an_incident_has_one_open_request(self) -> None:
        open_of: dict[str, str] = {}
        for event in self.room.told:
            if isinstance(event, Piece):
                continue
            if isinstance(event.data, CandidateTrained | TrainingFailed):
                open_of = {incident: wish for incident, wish in open_of.items() if wish != event.data.request_id}
            elif self.asked_by_itself(event):
                incident = event.data.incident
                assert incident not in open_of, f"{incident} has an open request: {open_of[incident]}"
                open_of[incident] = event.id

    @invariant()
    def a_frozen_model_asks_for_nothing(self) -> None:
        assert not self.broken, self.broken

    def teardown(self) -> None:
        """The rest is heard; a monitor that hears the same in the same order without a fault remembers and says the same."""
        try:
            for piece in [*self.control, *self.data]:
                self.do(self.room.deliver(piece))
            self.no_request_is_made_twice()
            self.an_incident_has_one_open_request()
            calm = Room(self.hear)
            for event in self.room.heard:
                self.do(calm.deliver(event))
            assert calm.ledger.store == self.room.ledger.store
            assert calm.said == self.room.said
            self.steps.update(type(event.data).__name__ for event in self.room.said)
        finally:
            super().teardown()

    def tell(self, fact: CandidateTrained | TrainingFailed) -> None:
        """Somebody else says it, by the clock that they have."""
        self.number += 1
        self.queue(first(fact, id=f"end-{self.number}", time=at(self.day) + self.shift))

    def queue(self, event: AnyEvent) -> None:
        self.control.append(event)
        self.old.append(event)

    def requests(self) -> list[Any]:
        return [event for event in self.room.said if isinstance(event.data, RetrainRequested)]

    def automatic(self) -> list[Any]:
        return [event for event in self.room.said if self.asked_by_itself(event)]

    @staticmethod
    def asked_by_itself(event: AnyEvent) -> bool:
        """Whether an incident asked, and no person did."""
        asks = isinstance(event.data, RetrainRequested) and event.data.incident is not None
        return asks and not (event.causation or "").startswith("command-")


def as_far_as_read(world: AWatchedWorld) -> Monitor:
    """A monitor whose positions are those of what it has read, not of what is on the topics."""
    return replace(in_memory(world), positions=MemoryPositions(world.store.setdefault("read", {})))


def candidate(request_id: str) -> CandidateTrained:
    """What a training says of its version, as far as the monitor reads it."""
    return CandidateTrained.model_construct(model=MODEL, request_id=request_id)


class Forgetful(MemoryLedger):
    """A ledger whose inbox remembers nothing."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        self.state.inbox.clear()
        async with super().transaction() as tx:
            yield tx


def test_an_incident_has_one_open_request_whatever_comes_in_between() -> None:
    play(Policies, examples=15)
    # A machine that never comes there proves nothing of it.
    assert Policies.steps.keys() >= {"DriftDetected", "RetrainRequested"}


def impatient(pursuit: policy.Pursuit, rules: Any, frozen: bool, at_us: int, what: str = "") -> Any:
    """A policy that asks again after the cool-down, whether its request has ended or not."""
    after, verdict = ENOUGH(pursuit, rules, frozen, at_us, what)
    if isinstance(verdict, policy.Ask):
        after = replace(after, stage="waiting", not_before_us=at_us + rules.cooldown_us)
    return after, verdict


ENOUGH = policy.enough


@pytest.mark.parametrize("wrong", ["inbox", "policy"])
def test_the_machine_is_seen_to_bite(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if wrong == "policy":
        monkeypatch.setattr(policy, "enough", impatient)
    ledger = Forgetful if wrong == "inbox" else MemoryLedger
    assert "DRIFTLOOP_SEED=" in found(type("Planted", (Policies,), {"ledger_class": ledger}), examples=100)
