"""What the bus needs from outside: a log (Kafka, or memory) and a ledger (Postgres, or memory).

The duties stand in the docstrings; `driftloop_bus.testing` holds one suite of tests for every implementation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from driftloop_bus.errors import Position

TopicPartition = tuple[str, int]
Headers = tuple[tuple[str, bytes], ...]
Ack = tuple[int, int]
"""(partition, offset) that the log gave a record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the log holds it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    """None is a tombstone."""
    headers: Headers = ()

    @property
    def position(self) -> Position:
        """Where it lies."""
        return Position(self.topic, self.partition, self.offset)


@dataclass(frozen=True, slots=True)
class Slice:
    """One poll's records of one partition, in order; never empty. Offsets may have gaps (compaction, markers)."""

    topic: str
    partition: int
    records: Sequence[Record]

    @property
    def start(self) -> int:
        """Offset of the first record."""
        return self.records[0].offset

    @property
    def end(self) -> int:
        """The offset after the last record: where the next poll goes on."""
        return self.records[-1].offset + 1


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written. Without a partition its key chooses one, the same on every topic of as many."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()
    partition: int | None = None


class Producer(Protocol):
    """Writes idempotently, acks=all."""

    async def send(self, records: Sequence[Outgoing]) -> list[Ack]:
        """Every record is acked by all in-sync replicas, in this order within a partition.

        Returns partition and offset of each. Raises TryAgain when any may not have been written: send all of them
        again, readers drop what they saw before by its id. None at all: it is connected afterwards.
        """

    async def close(self) -> None:
        """Nothing is in flight any more."""


class Consumer(Protocol):
    """Reads. With a group it is a member; without, it reads every partition of its topics from the beginning."""

    async def poll(self, max_records: int, wait_ms: int) -> list[Slice]:
        """What is there, at once; else what comes first within `wait_ms`; else nothing. One slice a partition.

        While topics are missing or the broker is away it returns nothing and `waiting_for` says why; it never gives up.
        Raises Stuck when records are there, don't come, and this process can't help it.
        """

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """The next record of the partition is the first at or after the offset."""

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Polls return nothing of these; other partitions go on."""

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Polls return these again, from where they stood."""

    async def hint(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Tells the log where we are, for lag tools; a member of the group that never seeks starts there.

        The runner always seeks: its truth is the ledger. Raises TryAgain when it failed.
        """

    async def end_offsets(self) -> dict[TopicPartition, int]:
        """The offset after the last record of each assigned partition."""

    async def positions(self) -> dict[TopicPartition, int]:
        """The offset at which the next poll goes on, of each assigned partition where it is known already.

        It can pass the last record: what was compacted or expired is behind it too.
        """

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions that are this consumer's now."""

    @property
    def waiting_for(self) -> str | None:
        """Why nothing can be read at the moment, for people; None when it can."""

    async def close(self) -> None:
        """Left the group; its partitions go to others."""


Assigned = Callable[[Collection[TopicPartition]], Awaitable[None]]
"""Told before the first poll that returns records of these partitions; it must return soon and may pause and seek."""


class Log(Protocol):
    """Kafka, or its twin in memory."""

    async def producer(self, linger_ms: int = 0, *, compressed: bool = False) -> Producer:
        """A producer of its own. Streams of many are worth compressing; whoever sends them one by one lets them linger."""

    async def consumer(
        self, topics: Sequence[str], group: str | None, on_assigned: Assigned, on_revoked: Assigned
    ) -> Consumer:
        """A consumer. Returns at once, also when the broker is away or topics are missing: polling waits for them."""

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """The offset after the last record of each partition. Raises TryAgain (broker away, topic missing)."""

    async def close(self) -> None:
        """Every producer and consumer made here is closed."""


class Transaction(Protocol):
    """Effects, inbox and outbox that become true together, or not at all."""

    @property
    def connection(self) -> Any:
        """What stores write through: an asyncpg connection, or `MemoryLedger`'s dict. Rolled back with the rest."""

    async def unseen(self, ids: Sequence[str]) -> list[bool]:
        """For each id whether it was never handled before; all are remembered with the transaction (or the savepoint).

        The second of two equal ids in one call is not new. Ids stay remembered as long as their topic keeps them.
        """

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """They go out in this order, after the commit and never before; earlier commits' records of a key go first."""

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """What happens inside is undone (effects, inbox, outbox) when it raises; the transaction goes on."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to handle a partition, until somebody claims it after us."""

    topic: str
    partition: int
    epoch: int
    next_offset: int
    """Everything before it is handled. 0 for a partition that nobody ever claimed."""
    claims: int = 1
    """How many owners in a row, this one included, claimed it at this offset without one going on or releasing it."""
    deaths: int = 0
    """How often the record at this offset was begun alone and never ended (`Ledger.begin_alone`)."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A record that is committed and waits for its ack."""

    id: int
    record: Outgoing


class OutboxLease(Protocol):
    """The right to relay, of one instance at a time. Every method raises TryAgain once the lease may be lost."""

    async def unpublished(self, limit: int, without: Collection[str] = ()) -> list[OutboxRow]:
        """The oldest rows without an ack, by id, the topics of `without` left out."""

    async def published(self, ids: Sequence[int], acks: Sequence[Ack]) -> None:
        """These rows are acked, at these positions."""

    async def recall(self, ends: Mapping[TopicPartition, int]) -> int:
        """Rows whose acked position lies at or beyond the end of its partition are unpublished again; how many.

        The log lost them: acked before a power cut, or the topic was made anew.
        """


class Outbox(Protocol):
    """What was committed and must go out."""

    def lease(self) -> AbstractAsyncContextManager[OutboxLease | None]:
        """The lease while the block runs, or None when another holds it. Raises TryAgain without a database."""

    async def pending(self) -> int:
        """How many rows wait. Raises TryAgain without a database."""


class Ledger(Protocol):
    """Offsets, inbox and outbox beside the effects. Every method raises TryAgain while the database is away."""

    @property
    def outbox(self) -> Outbox:
        """What waits to be published."""

    async def claim(self, topic: str, partition: int) -> Claim:
        """The partition is ours: its epoch is one higher, so every earlier claim is fenced."""

    async def release(self, claim: Claim) -> None:
        """Its owner lets go, alive: what was counted against the record that comes next is forgotten.

        Nothing happens when somebody else has claimed it since.
        """

    async def begin_alone(self, claim: Claim) -> None:
        """It is remembered, now, that the one record at the claim's offset is begun, as one more death than the claim knows.

        A batch that goes on behind it, or a release, ends it; whoever claims the partition before is told (`Claim.deaths`).
        By the same claim again it is the same beginning. Raises Fenced as `batch`.
        """

    async def current(self, claim: Claim) -> Claim:
        """The claim with the offset that is stored now: read after a commit whose outcome is unknown.

        Raises Fenced when the epoch moved.
        """

    def batch(self, claim: Claim, start: int, end: int) -> AbstractAsyncContextManager[Transaction]:
        """One transaction that handles a partition from `start` up to `end`.

        When the block ends, effects, inbox, outbox and `next_offset = end` are committed together, or none when it raises.
        Raises Fenced when the locked `next_offset` is not `start` or the epoch is not the claim's. Raises TryAgain when
        the outcome is unknown: see `current`.
        """

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """One transaction without offsets: doors, jobs, ticks."""
