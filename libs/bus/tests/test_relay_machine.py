"""The relay under every order of faults: what was committed is on the log, in its order, and never before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from libs.bus.tests.stepped import Death
from tests.machines import Played, found, play

from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Ack, Outbox, OutboxRow, Outgoing, Producer, TopicPartition
from driftloop_bus.relay import Relay
from driftloop_bus.testing import MemoryLedger, MemoryLog

TOPICS = ("drift.v1", "retraining.v1")
KEYS = ("a", "b")
FATES = st.sampled_from(["before_send", "in_the_middle", "after_ack", "after_mark"])


class Wire:
    """A log whose producer dies, or loses an answer, where it is told to."""

    def __init__(self, log: MemoryLog) -> None:
        self.log, self.fate, self.answers_lost = log, "", 0
        self.sent: list[list[Outgoing]] = []
        self.end_offsets = log.end_offsets

    async def producer(self, linger_ms: int = 0) -> Producer:
        return self

    async def send(self, records: Sequence[Outgoing]) -> list[Ack]:
        if not records:
            return []
        self.here("before_send")
        half = [self.log.append(record) for record in records[: len(records) // 2]]
        self.here("in_the_middle")
        acks = half + [self.log.append(record) for record in records[len(records) // 2 :]]
        self.sent.append(list(records))
        self.here("after_ack")
        if self.answers_lost:
            self.answers_lost -= 1
            raise TryAgain("the answer was lost")
        return acks

    async def close(self) -> None:
        return None

    def here(self, place: str) -> None:
        """It dies here if it is to."""
        if self.fate == place:
            raise Death(place)


class Relays(Played):
    """Transactions commit, relays live and die, and the broker loses answers and tails."""

    def outbox(self, ledger: MemoryLedger) -> Outbox:
        return ledger.outbox

    def __init__(self) -> None:
        super().__init__()
        self.log, self.ledger = MemoryLog(dict.fromkeys(TOPICS, 2)), MemoryLedger()
        self.wire = Wire(self.log)
        self.committed: list[Outgoing] = []
        self.hours = 0

    @rule(keys=st.lists(st.tuples(st.sampled_from(TOPICS), st.sampled_from(KEYS)), min_size=1, max_size=4))
    def commit(self, keys: list[tuple[str, str]]) -> None:
        """One transaction with these events."""
        start = len(self.committed)
        records = [
            Outgoing(topic, key.encode(), b"%d at %d h" % (start + i, self.hours))
            for i, (topic, key) in enumerate(keys)
        ]
        self.do(self._commit(records, fails=False))
        self.committed += records

    @rule(topic=st.sampled_from(TOPICS), key=st.sampled_from(KEYS))
    def roll_back(self, topic: str, key: str) -> None:
        """A transaction that fails leaves nothing to be sent."""
        self.do(self._commit([Outgoing(topic, key.encode(), b"phantom")], fails=True))

    @rule()
    def deliver(self) -> None:
        """A relay lives until nothing is left to be sent."""
        self.wire.fate = ""
        self.do(self._relayed())

    @rule()
    def drop_ack(self) -> None:
        """The next answer of the broker is lost: what it stored is sent again, so twice on the log."""
        self.wire.answers_lost = 1

    @rule(fate=FATES)
    def crash(self, fate: str) -> None:
        """A relay dies at this place, if it comes so far; the next one begins anew."""
        self.wire.fate = fate
        self.do(self._relayed())

    @rule(topic=st.sampled_from(TOPICS))
    def reorder(self, topic: str) -> None:
        """One topic can't be written for a while: events of others overtake its own."""
        there = {place: self.log.partitions.pop(place) for place in list(self.log.partitions) if place[0] == topic}
        self.do(self._relayed(stuck=topic))
        self.log.partitions |= there

    @precondition(lambda self: self.wire.sent)
    @rule(data=st.data())
    def duplicate(self, data: st.DataObject) -> None:
        """A relay that was stopped and replaced wakes in the middle of a send: its records come late, once more."""
        for record in self.wire.sent[data.draw(st.integers(0, len(self.wire.sent) - 1))]:
            self.log.append(record)

    @rule(topic=st.sampled_from(TOPICS), lost=st.integers(1, 3))
    def cut_tail(self, topic: str, lost: int) -> None:
        """The broker loses what came last, as after a power cut; the relay looks before it sends more."""
        for number in range(2):
            del self.log.partitions[topic, number][-lost:]
        self.wire.fate = ""
        self.do(self._relayed())

    @rule(hours=st.integers(-72, 72))
    def clock_jump(self, hours: int) -> None:
        """Whoever commits has another time from now on; what goes out goes by its place in the outbox alone."""
        self.hours += hours

    @invariant()
    def nothing_is_on_the_log_that_was_not_committed(self) -> None:
        known = {record.value for record in self.committed}
        assert all(record.value in known for topic in TOPICS for record in self.log.records(topic))

    @invariant()
    def what_is_marked_as_sent_is_there(self) -> None:
        state = self.ledger.state
        for row in state.outbox:
            if row.id in state.acks:
                number, offset = state.acks[row.id]
                there = self.log.partitions[row.record.topic, number][offset : offset + 1]
                assert [record.value for record in there] == [row.record.value], f"{row.record} is not at {offset}"

    @invariant()
    def whoever_drops_what_it_knows_hears_the_commits_order(self) -> None:
        for topic in TOPICS:
            for key in KEYS:
                heard = self._heard(topic, key)
                assert heard == self._said(topic, key)[: len(heard)], f"{topic} {key}: {heard}"

    def teardown(self) -> None:
        """Without further faults all of it is there."""
        try:
            self.wire.fate, self.wire.answers_lost = "", 0
            self.do(self._relayed())
            self.whoever_drops_what_it_knows_hears_the_commits_order()
            everything = [self._heard(topic, key) for topic in TOPICS for key in KEYS]
            assert len(list(chain(*everything))) == len(self.committed), "something is not on the log"
        finally:
            super().teardown()

    async def _commit(self, records: Sequence[Outgoing], *, fails: bool) -> None:
        try:
            async with self.ledger.transaction() as tx:
                await tx.publish(records)
                if fails:
                    raise Death
        except Death:
            return

    async def _relayed(self, stuck: str = "") -> None:
        topics = [topic for topic in TOPICS if topic != stuck]
        relay = Relay(self.wire, self.outbox(self.ledger), topics=topics)  # type: ignore[arg-type]  # a part of a log
        relay.stop()
        try:
            await relay.run()
        except Death:
            return

    def _said(self, topic: str, key: str) -> list[bytes]:
        return [record.value for record in self.committed if (record.topic, record.key) == (topic, key.encode())]

    def _heard(self, topic: str, key: str) -> list[bytes]:
        values = [record.value or b"" for record in self.log.records(topic) if record.key == key.encode()]
        return list(dict.fromkeys(values))


class Eager:
    """An outbox that takes for sent what it only hands out."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self.ledger = ledger

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Any]:
        async with self.ledger.outbox.lease() as lease:
            self.held = lease
            yield self if lease else None

    async def unpublished(self, limit: int, without: Collection[str] = ()) -> list[OutboxRow]:
        rows: list[OutboxRow] = await self.held.unpublished(limit, without)
        await self.held.published([row.id for row in rows], [(0, 0) for _ in rows])
        return rows

    async def published(self, ids: Sequence[int], acks: Sequence[Ack]) -> None:
        await self.held.published(ids, acks)

    async def recall(self, ends: Mapping[TopicPartition, int]) -> int:
        return int(await self.held.recall(ends))


class Backwards(Eager):
    """An outbox whose newest rows go first."""

    async def unpublished(self, limit: int, without: Collection[str] = ()) -> list[OutboxRow]:
        rows: list[OutboxRow] = await self.held.unpublished(limit, without)
        return rows[::-1]


def test_what_was_committed_goes_out_in_its_order_and_nothing_else() -> None:
    play(Relays, examples=120)


@pytest.mark.parametrize("wrong", [Eager, Backwards])
def test_the_machine_is_seen_to_bite(wrong: type[Eager]) -> None:
    planted = type(f"Planted{wrong.__name__}", (Relays,), {"outbox": lambda self, ledger: wrong(ledger)})
    assert "DRIFTLOOP_SEED=" in found(planted, examples=300)
