"""A ledger in memory, with the ways in which Postgres fails: away, and a commit whose answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from driftloop_bus.errors import Fenced, TryAgain
from driftloop_bus.ports import Ack, Claim, Outbox, OutboxLease, OutboxRow, Outgoing, TopicPartition, Transaction


@dataclass(frozen=True, slots=True)
class _Trail:
    """What owners of a partition left: where it was claimed how often, where one record was begun how often."""

    claimed_at: int = -1
    claims: int = 0
    begun_at: int = -1
    begun: int = 0

    def claimed(self, offset: int) -> _Trail:
        return replace(self, claimed_at=offset, claims=self.claims + 1 if self.claimed_at == offset else 1)

    def deaths(self, offset: int) -> int:
        return self.begun if self.begun_at == offset else 0


@dataclass(slots=True)
class _State:
    """Everything that a transaction changes."""

    store: dict[Any, Any] = field(default_factory=dict)
    offsets: dict[TopicPartition, tuple[int, int]] = field(default_factory=dict)
    inbox: set[str] = field(default_factory=set)
    outbox: list[OutboxRow] = field(default_factory=list)
    acks: dict[int, Ack] = field(default_factory=dict)
    trails: dict[TopicPartition, _Trail] = field(default_factory=dict)

    def copied(self) -> _State:
        """As it is now, whatever is written next."""
        store = deepcopy(self.store)
        return _State(store, dict(self.offsets), set(self.inbox), list(self.outbox), dict(self.acks), dict(self.trails))

    def restore(self, earlier: _State) -> None:
        """As it was, in the same objects: stores hold on to them."""
        self.store.clear()
        self.store.update(earlier.store)
        self.offsets, self.inbox, self.outbox, self.acks = earlier.offsets, earlier.inbox, earlier.outbox, earlier.acks
        self.trails = earlier.trails


class MemoryLedger:
    """Transactions one at a time, on a dict. `store` is what committed transactions left."""

    def __init__(self) -> None:
        self.state = _State()
        self.away = False
        self.lose_next_answers = 0
        """So many commits succeed but say TryAgain, as when the connection breaks before the answer."""
        self.commits = 0
        self._lock = asyncio.Lock()
        self._outbox = _MemoryOutbox(self)

    @property
    def store(self) -> dict[Any, Any]:
        """What handlers wrote through `Transaction.connection`."""
        return self.state.store

    @property
    def outbox(self) -> Outbox:
        """As `ports.Ledger`."""
        return self._outbox

    async def claim(self, topic: str, partition: int) -> Claim:
        """As `ports.Ledger`."""
        async with self.locked():
            epoch, offset = self.state.offsets.get((topic, partition), (0, 0))
            self.state.offsets[topic, partition] = (epoch + 1, offset)
            trail = self.state.trails[topic, partition] = self._trail(topic, partition).claimed(offset)
            return Claim(topic, partition, epoch + 1, offset, trail.claims, trail.deaths(offset))

    async def release(self, claim: Claim) -> None:
        """As `ports.Ledger`."""
        async with self.locked():
            if self.state.offsets[claim.topic, claim.partition][0] == claim.epoch:
                self.state.trails[claim.topic, claim.partition] = _Trail()

    async def begin_alone(self, claim: Claim) -> None:
        """As `ports.Ledger`."""
        async with self.locked():
            stored = await self.current(claim)
            if stored.next_offset != claim.next_offset:
                raise Fenced(f"{claim.topic}/{claim.partition} stands at {stored.next_offset}")
            trail = self._trail(claim.topic, claim.partition)
            self.state.trails[claim.topic, claim.partition] = replace(
                trail, begun_at=claim.next_offset, begun=claim.deaths + 1
            )

    def _trail(self, topic: str, partition: int) -> _Trail:
        return self.state.trails.get((topic, partition), _Trail())

    async def current(self, claim: Claim) -> Claim:
        """As `ports.Ledger`."""
        self.check_there()
        epoch, offset = self.state.offsets[claim.topic, claim.partition]
        if epoch != claim.epoch:
            raise Fenced(f"{claim.topic}/{claim.partition} was claimed again: epoch {epoch}, ours {claim.epoch}")
        return Claim(claim.topic, claim.partition, epoch, offset)

    @asynccontextmanager
    async def batch(self, claim: Claim, start: int, end: int) -> AsyncIterator[Transaction]:
        """As `ports.Ledger`."""
        async with self._transaction() as tx:
            stored = await self.current(claim)
            if stored.next_offset != start:
                raise Fenced(f"{claim.topic}/{claim.partition} stands at {stored.next_offset}, the batch at {start}")
            yield tx
            self.state.offsets[claim.topic, claim.partition] = (claim.epoch, end)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """As `ports.Ledger`."""
        async with self._transaction() as tx:
            yield tx

    def check_there(self) -> None:
        """Raises TryAgain while the database is away."""
        if self.away:
            raise TryAgain("the database is away")

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        async with self.locked(), self._undone_when_it_fails():
            yield _MemoryTransaction(self)
            self.check_there()
        self.commits += 1
        if self.lose_next_answers:
            self.lose_next_answers -= 1
            raise TryAgain("the connection broke at the commit")

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Nobody else's transaction runs."""
        self.check_there()
        async with self._lock:
            yield

    @asynccontextmanager
    async def _undone_when_it_fails(self) -> AsyncIterator[None]:
        before, done = self.state.copied(), False
        try:
            yield
            done = True
        finally:
            if not done:
                self.state.restore(before)

    def savepoint(self) -> Any:
        """What happens inside is undone when it raises."""
        return self._undone_when_it_fails()


class _MemoryTransaction:
    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    @property
    def connection(self) -> dict[Any, Any]:
        return self._ledger.store

    async def unseen(self, ids: Sequence[str]) -> list[bool]:
        inbox, answers = self._ledger.state.inbox, []
        for identity in ids:
            answers.append(identity not in inbox)
            inbox.add(identity)
        return answers

    async def publish(self, records: Sequence[Outgoing]) -> None:
        outbox = self._ledger.state.outbox
        outbox.extend([OutboxRow(len(outbox) + place + 1, record) for place, record in enumerate(records)])

    def savepoint(self) -> Any:
        return self._ledger.savepoint()


class _MemoryOutbox:
    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self._held = False

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[OutboxLease | None]:
        self._ledger.check_there()
        if self._held:
            yield None
            return
        self._held = True
        try:
            yield _MemoryLease(self._ledger)
        finally:
            self._held = False

    async def pending(self) -> int:
        self._ledger.check_there()
        return len(self._ledger.state.outbox) - len(self._ledger.state.acks)


class _MemoryLease:
    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def unpublished(self, limit: int, without: Collection[str] = ()) -> list[OutboxRow]:
        async with self._ledger.locked():
            state = self._ledger.state
            waiting = (row for row in state.outbox if row.id not in state.acks and row.record.topic not in without)
            return list(islice(waiting, limit))

    async def published(self, ids: Sequence[int], acks: Sequence[Ack]) -> None:
        async with self._ledger.locked():
            self._ledger.state.acks.update(zip(ids, acks, strict=True))

    async def recall(self, ends: Mapping[TopicPartition, int]) -> int:
        async with self._ledger.locked():
            acks = self._ledger.state.acks
            lost = [row.id for row in self._ledger.state.outbox if _beyond(acks.get(row.id), row.record.topic, ends)]
            for row_id in lost:
                del acks[row_id]
            return len(lost)


def _beyond(ack: Ack | None, topic: str, ends: Mapping[TopicPartition, int]) -> bool:
    return ack is not None and (topic, ack[0]) in ends and ack[1] >= ends[topic, ack[0]]
