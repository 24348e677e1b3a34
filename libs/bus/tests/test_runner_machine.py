"""Inbox and runner under every order of faults: nothing lost, nothing twice, in order, and offsets only go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from libs.bus.tests.stepped import Death, Process, Where
from tests.machines import Played, found, play

from driftloop_bus.codec import encode
from driftloop_bus.ports import Claim, Outgoing, Record, TopicPartition, Transaction
from driftloop_bus.testing import MemoryLedger, MemoryLog
from driftloop_contracts import first
from driftloop_contracts.control_plane import CommandGiven

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
KEYS = ("a", "b", "c")
TOPIC, DEAD, ANSWERS = "commands.v1", "commands.v1.registry.dead", "registry.v1"
MEMBERS = st.integers(0, 1)
DEATHS: Sequence[Where] = ("nowhere", "in_handler", "before_commit", "after_commit")


class Runners(Played):
    """Two processes share the partitions of a topic; the log, the ledger and the dead are all that there is."""

    ledger_class: type[MemoryLedger] = MemoryLedger

    def __init__(self) -> None:
        super().__init__()
        self.log, self.ledger = MemoryLog({TOPIC: 2}), self.ledger_class()
        self.now, self.numbers = NOON, Counter[str]()
        self.reached: dict[TopicPartition, int] = {}
        self.struck = Counter[tuple[TopicPartition, int]]()
        self.members = [self.born(), self.born()]

    def born(self) -> Process:
        return Process(self.log, self.ledger, self._loop.create_task)

    @rule(key=st.sampled_from(KEYS))
    def tell(self, key: str) -> None:
        """One more command of a key."""
        self.log.append(self.command(key))

    @rule(key=st.sampled_from(KEYS))
    def reorder(self, key: str) -> None:
        """Two of a key come the wrong way round: the order of the log is the order."""
        earlier, later = self.command(key), self.command(key)
        self.log.append(later)
        self.log.append(earlier)

    @precondition(lambda self: self.log.records(TOPIC))
    @rule(data=st.data())
    def duplicate(self, data: st.DataObject) -> None:
        """A record is on the log once more, however old it is."""
        records = self.log.records(TOPIC)
        old = records[data.draw(st.integers(0, len(records) - 1))]
        self.log.append(Outgoing(TOPIC, old.key, old.value or b"", old.headers))

    @rule(member=MEMBERS, records=st.integers(1, 4))
    def deliver(self, member: int, records: int) -> None:
        self.do(self.members[member].round(records))

    @rule()
    def drop_ack(self) -> None:
        """The next commit happens, and nobody hears of it."""
        self.ledger.lose_next_answers = 1

    @rule(member=MEMBERS, where=st.sampled_from(DEATHS), records=st.integers(1, 4))
    def crash(self, member: int, where: Where, records: int) -> None:
        """A process dies where it is told to, or where it stands; another comes in its place."""
        self.strike()
        dying = self.members[member]
        dying.fate.dies = where
        if where != "nowhere":
            self.do(dying.round(records))
        if not dying.dead:
            self.do(dying.killed())
        elif not dying.task.cancelled():
            assert isinstance(dying.task.exception(), Death)
        self.members[member] = self.born()

    @rule(member=MEMBERS, records=st.integers(1, 4), rounds=st.integers(0, 4))
    def stop(self, member: int, records: int, rounds: int) -> None:
        """A process stands still before its transaction, and its group goes on without it."""
        self.strike()
        stopped = self.members[member].fate
        stopped.awake.clear()
        self.do(self.members[member].round(records))
        if stopped.stands:
            self.log.leave(stopped.consumer)
        for _ in range(rounds):
            self.do(self.members[1 - member].round())

    @rule(member=MEMBERS)
    def wake(self, member: int) -> None:
        """Who was stopped goes on as if nothing had happened, and begins anew when it learns better."""
        stood = self.members[member].fate.stands
        self.do(self.members[member].woken())
        if stood:
            self.strike()
            self.do(self.members[member].killed())
            self.members[member] = self.born()

    @rule(hours=st.integers(-72, 72))
    def clock_jump(self, hours: int) -> None:
        """Whoever writes has another time from now on."""
        self.now += timedelta(hours=hours)

    @invariant()
    def offsets_never_go_back(self) -> None:
        for place, (_, offset) in self.ledger.state.offsets.items():
            assert offset >= self.reached.get(place, 0), f"{place} went back to {offset}"
            self.reached[place] = offset

    @invariant()
    def what_was_passed_had_its_effects_once_and_in_order(self) -> None:
        parked = self.parked()
        for key in KEYS:
            effects = self.ledger.store.get(key, [])
            assert effects == self.passed(key, parked), f"{key}: {effects}"
            assert [value.decode() for value in self.answered(key)] == effects
        for place in parked:
            assert self.struck[place] >= 2, f"{place} was parked although nobody died of it"

    def teardown(self) -> None:
        """Without further faults everything has its effects."""
        try:
            self.at_rest()
        finally:
            super().teardown()

    def at_rest(self) -> None:
        self.ledger.lose_next_answers = 0
        for member in range(len(self.members)):
            self.wake(member)
        ends = {place: len(records) for place, records in self.log.partitions.items()}
        for _ in range(sum(ends.values()) + 10):
            for member in self.members:
                self.do(member.round())
        assert {place: self.ledger.state.offsets[place][1] for place in ends} == ends, "it does not get to the end"
        self.offsets_never_go_back()
        self.what_was_passed_had_its_effects_once_and_in_order()

    def command(self, key: str) -> Outgoing:
        self.numbers[key] += 1
        fact = CommandGiven(command="freeze", model=key, given_by="ann", reason=f"{key}{self.numbers[key]}")
        return encode(first(fact, id=fact.reason, time=self.now), "console")

    def strike(self) -> None:
        """Somebody may be at the next record of any partition, and be lost to the group."""
        for place in self.log.partitions:
            self.struck[place, self.ledger.state.offsets.get(place, (0, 0))[1]] += 1

    def passed(self, key: str, parked: set[tuple[TopicPartition, int]]) -> list[str]:
        """The ids of the key up to the stored offset, each where it came first."""
        ids = [
            identity(record)
            for place, records in self.log.partitions.items()
            for record in records[: self.ledger.state.offsets.get(place, (0, 0))[1]]
            if record.key == key.encode() and (place, record.offset) not in parked
        ]
        return list(dict.fromkeys(ids))

    def parked(self) -> set[tuple[TopicPartition, int]]:
        letters = [dict(row.record.headers) for row in self.ledger.state.outbox if row.record.topic == DEAD]
        places = [((TOPIC, int(h["dead_partition"])), int(h["dead_offset"])) for h in letters]
        assert len(places) == len(set(places)), "a letter was written twice"
        return set(places)

    def answered(self, key: str) -> list[bytes]:
        """What caused each answer of the key, in the order in which they go out."""
        rows = [row.record for row in self.ledger.state.outbox if row.record.topic == ANSWERS]
        return [dict(record.headers)["ce_causationid"] for record in rows if record.key == key.encode()]


def identity(record: Record) -> str:
    return dict(record.headers)["ce_id"].decode()


class Forgetful(MemoryLedger):
    """A ledger whose inbox remembers nothing."""

    @asynccontextmanager
    async def batch(self, claim: Claim, start: int, end: int) -> AsyncIterator[Transaction]:
        self.state.inbox.clear()
        async with super().batch(claim, start, end) as tx:
            yield tx


class Hasty(MemoryLedger):
    """A ledger that moves the offset before the effects are there."""

    @asynccontextmanager
    async def batch(self, claim: Claim, start: int, end: int) -> AsyncIterator[Transaction]:
        async with super().batch(claim, start, end):
            pass
        async with self.transaction() as tx:
            yield tx


class Trusting(MemoryLedger):
    """A ledger that lets whoever was replaced write on."""

    @asynccontextmanager
    async def batch(self, claim: Claim, start: int, end: int) -> AsyncIterator[Transaction]:
        async with self.transaction() as tx:
            yield tx
            self.state.offsets[claim.topic, claim.partition] = (claim.epoch, end)


def test_nothing_is_lost_nothing_happens_twice_and_the_order_holds() -> None:
    play(Runners, examples=150)


@pytest.mark.parametrize("wrong", [Forgetful, Hasty, Trusting])
def test_the_machine_is_seen_to_bite(wrong: type[MemoryLedger]) -> None:
    planted = type(f"Planted{wrong.__name__}", (Runners,), {"ledger_class": wrong})
    assert "DRIFTLOOP_SEED=" in found(planted, examples=300)


def test_a_seed_plays_the_same_again() -> None:
    planted = type("Planted", (Runners,), {"ledger_class": Forgetful})
    assert found(planted, examples=300) == found(planted, examples=300)
