"""From the log to the history: polls, decodes, gathers, and appends when enough or long enough has gathered.

Its offsets live in the tables, beside the rows; so this reads with a consumer of its own, not through the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from time import monotonic
from typing import Final

import pyarrow as pa

from driftloop_bus.backoff import Backoff
from driftloop_bus.errors import BadMessage, Fenced, TryAgain
from driftloop_bus.ports import Consumer, Log, Record, Slice, TopicPartition
from driftloop_bus.reading import read_batch
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from feature_store.rows import SCHEMAS, table_of
from feature_store.tables import Tables

TOPICS: Final = (PREDICTIONS.name, OUTCOMES.name, OBSERVATIONS.name)
GROUP: Final = "feature_store-history"
MAX_ROWS: Final = 20_000
# Each append is a file and a commit that every later reader pays for: while rows keep coming they wait for each other, but
# no longer than this, and rows behind which nothing comes wait less.
MAX_AGE_S: Final = 30.0
ALONE_AGE_S: Final = 5.0
LULL_S: Final = 1.0
POLL_WAIT_MS: Final = 200
# A packed record may hold thousands of rows.
POLL_RECORDS: Final = 500
LOOK_S: Final = 0.02

Park = Callable[[Sequence[tuple[Record, BadMessage]]], Awaitable[None]]
Told = Callable[[str, int], None]


def nobody(topic: str, rows: int) -> None:
    """Nobody counts."""


class History:
    """Keeps the tables up to the log."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._told: Told = nobody
        self._fresh: set[TopicPartition] = set()
        """Ours, but not looked up yet."""
        self._read: dict[TopicPartition, int] = {}
        self._stored: dict[TopicPartition, int] = {}
        self._waiting: dict[str, list[pa.Table]] = {topic: [] for topic in TOPICS}
        self._oldest: float | None = None
        self._newest = 0.0
        self._asked = False
        self._consumer: Consumer | None = None
        self._trouble: str | None = None

    async def run(self, log: Log, park: Park, told: Told = nobody) -> None:
        """Until cancelled. While a dependency is away it waits, and then goes on from what is stored.

        park: puts away records that can't be read, with their reasons; called before their offsets are stored, and again
        for the same records when these were not stored then.
        told: hears of each append, its topic and how many rows.
        """
        self._told = told
        self._consumer = consumer = await log.consumer(TOPICS, GROUP, self._assigned, self._revoked)
        backoff = Backoff()
        try:
            while True:
                try:
                    await self._step(consumer, park)
                    self._trouble = None
                    backoff.reset()
                except (TryAgain, Fenced) as error:
                    self._trouble = error.message
                    self._begin_again({*self._stored, *self._fresh})
                    await asyncio.sleep(backoff.next_s())
        finally:
            await consumer.close()

    async def cover(self, ends: Mapping[TopicPartition, int]) -> None:
        """Returns once the tables hold every row before these offsets, whoever stores them. Raises TryAgain."""
        for (topic, partition), end in ends.items():
            while self._stored.get((topic, partition), 0) < end:
                self._asked = True
                if (topic, partition) not in self._stored:
                    if await asyncio.to_thread(self._tables.position, topic, partition) >= end:
                        break
                    await asyncio.sleep(10 * LOOK_S)
                await asyncio.sleep(LOOK_S)

    async def settle(self) -> None:
        """Returns once everything that was read by now is stored."""
        await self.cover(dict(self._read))

    def positions(self) -> dict[str, dict[int, int]]:
        """`{topic: {partition: offset after the last stored row}}`."""
        shown: dict[str, dict[int, int]] = {}
        for (topic, partition), end in sorted(self._stored.items()):
            shown.setdefault(topic, {})[partition] = end
        return shown

    def rows_waiting(self) -> int:
        """Rows that were read and are not stored yet."""
        return sum(len(table) for tables in self._waiting.values() for table in tables)

    @property
    def waiting_for(self) -> str | None:
        """Why nothing is stored at the moment, for people; None when all is well."""
        return self._trouble or (self._consumer.waiting_for if self._consumer is not None else None)

    async def _assigned(self, places: Collection[TopicPartition]) -> None:
        # Looked up by the next step: what fails here nobody would hear of.
        self._fresh |= set(places)

    async def _revoked(self, places: Collection[TopicPartition]) -> None:
        self._begin_again({*self._stored, *self._fresh} - set(places))

    def _begin_again(self, places: set[TopicPartition]) -> None:
        """What gathered but is not stored goes; of these partitions it is read again, of others by their next owner."""
        self._fresh = places
        self._read, self._stored, self._oldest = {}, {}, None
        self._waiting = {topic: [] for topic in TOPICS}

    async def _step(self, consumer: Consumer, park: Park) -> None:
        pieces = await consumer.poll(POLL_RECORDS, POLL_WAIT_MS)
        await self._look_up(consumer)
        flushed = False
        for piece in pieces:
            await self._take(piece, park)
            flushed = await self._flush_if_due() or flushed
        if await self._flush_if_due() or flushed:
            await hint(consumer, self._stored)

    async def _look_up(self, consumer: Consumer) -> None:
        for place in sorted(self._fresh):
            stored = await asyncio.to_thread(self._tables.position, *place)
            if place in self._fresh:
                self._stored[place] = self._read[place] = stored
                consumer.seek(*place, stored)
                self._fresh.discard(place)

    async def _take(self, piece: Slice, park: Park) -> None:
        place = (piece.topic, piece.partition)
        start = self._read.get(place)
        if start is None:
            return
        # Records from before a seek may still come.
        records = [record for record in piece.records if record.offset >= start]
        if not records:
            return
        batch, bad = await asyncio.to_thread(read_batch, records)
        # Bad observations are parked by the runner, which reads them too.
        if bad and piece.topic != OBSERVATIONS.name:
            by_offset = {record.offset: record for record in records}
            await park([(by_offset[one.at.offset], one) for one in bad if one.at is not None])
        table = await asyncio.to_thread(table_of, batch) if batch is not None else None
        if self._read.get(place) != start:
            return  # taken away meanwhile
        if table is not None:
            self._waiting[piece.topic].append(table)
        self._newest = monotonic()
        self._oldest = self._oldest or self._newest
        self._read[place] = piece.end

    def _due(self) -> bool:
        return (
            self.rows_waiting() >= MAX_ROWS
            or (self._oldest is not None and old(monotonic() - self._oldest, monotonic() - self._newest))
            or (self._asked and self._read != self._stored)
        )

    async def _flush_if_due(self) -> bool:
        due = self._due()
        if due:
            await self._flush()
        return due

    async def _flush(self) -> None:
        self._asked = False
        for topic in TOPICS:
            moved = {
                place[1]: (self._stored[place], end)
                for place, end in self._read.items()
                if place[0] == topic and self._stored[place] != end
            }
            if moved:
                await self._append(topic, moved)
        self._oldest = None

    async def _append(self, topic: str, moved: dict[int, tuple[int, int]]) -> None:
        tables = self._waiting[topic]
        # Without a row too: the positions must move past records that were parked.
        rows = pa.concat_tables(tables) if tables else SCHEMAS[topic].empty_table()
        await asyncio.to_thread(self._tables.append, topic, rows, moved)
        self._told(topic, len(rows))
        for partition, (_, end) in moved.items():
            # A partition that was taken away meanwhile is not ours to speak of, although its rows are stored.
            if self._read.get((topic, partition)) is not None:
                self._stored[topic, partition] = end
        if self._waiting[topic] is tables:
            self._waiting[topic] = []


def old(oldest_s: float, newest_s: float) -> bool:
    """Whether what waits has waited long enough, by the ages of its oldest and its newest row."""
    return oldest_s > MAX_AGE_S or (oldest_s > ALONE_AGE_S and newest_s > LULL_S)


async def hint(consumer: Consumer, positions: Mapping[TopicPartition, int]) -> None:
    """Lag tools see where we are, where the broker takes it; and a client that is given a partition fetches from there until it
    is told where to go on, not all of the log. Nothing of ours is decided by it.
    """
    try:
        await consumer.hint(positions)
    except TryAgain:
        return
