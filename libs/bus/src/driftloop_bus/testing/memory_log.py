"""A log in memory: partitions, keys, groups with the range assignor, and a broker that can go away."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Ack, Assigned, Consumer, Outgoing, Producer, Record, Slice, TopicPartition
from driftloop_contracts.topics import TOPICS, dead_letter_topics


class MemoryLog:
    """Every topic of the catalogue, empty. `away = True` is a broker that does not answer."""

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        catalogue = {topic.name: topic.partitions for topic in TOPICS} | dict.fromkeys(dead_letter_topics(), 1)
        self.partitions: dict[TopicPartition, list[Record]] = {}
        self.away = False
        self.hints: dict[tuple[str, str, int], int] = {}
        self._groups: dict[str, _Group] = {}
        self._news = asyncio.Event()
        for name, count in (catalogue if topics is None else topics).items():
            self.create(name, count)

    def create(self, topic: str, partitions: int = 1) -> None:
        """The topic exists."""
        for number in range(partitions):
            self.partitions.setdefault((topic, number), [])

    def records(self, topic: str) -> list[Record]:
        """Everything on the topic, partition after partition."""
        return [record for (name, _), records in sorted(self.partitions.items()) if name == topic for record in records]

    def append(self, one: Outgoing) -> Ack:
        """The record is on the log. Raises TryAgain when the topic is missing or the broker away."""
        count = self.count(one.topic)
        if self.away or not count:
            raise TryAgain("the broker is away" if self.away else f"topic {one.topic} is missing")
        number = zlib.crc32(one.key or b"") % count if one.partition is None else one.partition
        held = self.partitions[one.topic, number]
        record = Record(one.topic, number, len(held), time.time_ns() // 1_000_000, one.key, one.value, one.headers)
        held.append(record)
        self._wake()
        return number, record.offset

    def count(self, topic: str) -> int:
        """How many partitions the topic has; 0 when it is missing."""
        return sum(name == topic for name, _ in self.partitions)

    async def producer(self, linger_ms: int = 0, *, compressed: bool = False) -> Producer:
        """As `ports.Log`."""
        return _MemoryProducer(self)

    async def consumer(
        self, topics: Sequence[str], group: str | None, on_assigned: Assigned, on_revoked: Assigned
    ) -> Consumer:
        """As `ports.Log`."""
        made = _MemoryConsumer(self, topics, group, on_assigned, on_revoked)
        if group is not None:
            self._groups.setdefault(group, _Group()).join(made)
        return made

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """As `ports.Log`."""
        if self.away:
            raise TryAgain("the broker is away")
        if missing := [topic for topic in topics if not self.count(topic)]:
            raise TryAgain(f"topics are missing: {missing}")
        return {place: len(records) for place, records in self.partitions.items() if place[0] in topics}

    async def close(self) -> None:
        """As `ports.Log`."""
        self._groups.clear()

    def assigned(self, member: _MemoryConsumer) -> frozenset[TopicPartition]:
        """The range assignor: each topic's partitions in contiguous pieces, members in the order they came."""
        if member.group is None:
            return frozenset(place for place in self.partitions if place[0] in member.topics)
        group = self._groups.get(member.group, _Group())
        return frozenset(place for topic in member.topics for place in self._range(topic, member, group))

    def generation(self, group: str | None) -> int:
        """Counts how often members of the group came and went, and topics appeared."""
        return len(self.partitions) + (self._groups[group].generation if group in self._groups else 0)

    def leave(self, member: _MemoryConsumer) -> None:
        """The member's partitions go to others."""
        if member.group in self._groups:
            self._groups[member.group].leave(member)
            self._wake()

    async def news(self, wait_s: float) -> None:
        """Something was appended or somebody left, or the time is over."""
        try:
            # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the news.
            async with asyncio.timeout(wait_s):
                await self._news.wait()
        except TimeoutError:
            return

    def _range(self, topic: str, member: _MemoryConsumer, group: _Group) -> list[TopicPartition]:
        members = [other for other in group.members if topic in other.topics]
        if member not in members:
            return []
        place, count = members.index(member), self.count(topic)
        size, more = divmod(count, len(members))
        start = place * size + min(place, more)
        return [(topic, number) for number in range(start, start + size + (place < more))]

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


@dataclass(slots=True)
class _Group:
    members: list[_MemoryConsumer] = field(default_factory=list)
    generation: int = 0

    def join(self, member: _MemoryConsumer) -> None:
        self.members.append(member)
        self.generation += 1

    def leave(self, member: _MemoryConsumer) -> None:
        if member in self.members:
            self.members.remove(member)
            self.generation += 1


@dataclass(frozen=True, slots=True)
class _MemoryProducer:
    log: MemoryLog

    async def send(self, records: Sequence[Outgoing]) -> list[Ack]:
        return [self.log.append(record) for record in records]

    async def close(self) -> None:
        return None


class _MemoryConsumer:
    def __init__(
        self, log: MemoryLog, topics: Sequence[str], group: str | None, on_assigned: Assigned, on_revoked: Assigned
    ) -> None:
        self.group, self.topics = group, tuple(topics)
        self._log = log
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._generation = -1
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    async def poll(self, max_records: int, wait_ms: int) -> list[Slice]:
        deadline = time.monotonic() + wait_ms / 1000
        while True:
            await self._rebalance()
            if (slices := self._ready(max_records)) or (left := deadline - time.monotonic()) <= 0:
                return slices
            await self._log.news(min(left, 0.02))

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self._positions[topic, partition] = offset

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._paused.difference_update(partitions)

    async def hint(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        if self._log.away:
            raise TryAgain("the broker is away")
        for (topic, partition), offset in next_offsets.items():
            self._log.hints[self.group or "", topic, partition] = offset

    async def end_offsets(self) -> dict[TopicPartition, int]:
        ends = await self._log.end_offsets(sorted({topic for topic, _ in self._positions}))
        return {place: ends[place] for place in self._positions}

    async def positions(self) -> dict[TopicPartition, int]:
        return dict(self._positions)

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._positions)

    @property
    def waiting_for(self) -> str | None:
        if self._log.away:
            return "the broker is away"
        missing = [topic for topic in self.topics if not self._log.count(topic)]
        return f"topics are missing: {missing}" if missing else None

    async def close(self) -> None:
        self._log.leave(self)

    async def _rebalance(self) -> None:
        generation = self._log.generation(self.group)
        if generation == self._generation or self.waiting_for:
            return
        self._generation = generation
        if self._positions:
            await self._on_revoked(list(self._positions))
        hints = self._log.hints if self.group else {}
        self._positions = {
            place: hints.get((self.group or "", *place), 0) for place in sorted(self._log.assigned(self))
        }
        self._paused.clear()
        await self._on_assigned(list(self._positions))

    def _ready(self, max_records: int) -> list[Slice]:
        slices: list[Slice] = []
        if self._log.away:
            return slices
        for (topic, partition), start in self._positions.items():
            records = self._log.partitions[topic, partition][start : start + max_records]
            if not records or (topic, partition) in self._paused or max_records <= 0:
                continue
            slices.append(Slice(topic, partition, records))
            self._positions[topic, partition] = start + len(records)
            max_records -= len(records)
        return slices
