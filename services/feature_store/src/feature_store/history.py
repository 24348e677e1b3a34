"""From the log to the history: polls, decodes, gathers, and appends when enough or long enough has gathered.

Its offsets live in the tables, beside the rows; so this reads with a consumer of its own, not through the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from time import monotonic
from typing import Final

import pyarrow as pa

from driftloop_bus.errors import BadMessage, TryAgain
from driftloop_bus.ports import Consumer, Log, Record, Slice, TopicPartition
from driftloop_bus.reading import read_batch
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from feature_store.rows import SCHEMAS, table_of
from feature_store.tables import Tables

TOPICS: Final = (PREDICTIONS.name, OUTCOMES.name, OBSERVATIONS.name)
GROUP: Final = "feature_store-history"
MAX_ROWS: Final = 20_000
# Older rows than this wait for no others: a reader of the tables sees them after it.
MAX_AGE_S: Final = 5.0
POLL_WAIT_MS: Final = 500
POLL_RECORDS: Final = 5_000
COVER_CHECK_S: Final = 0.05

Park = Callable[[Sequence[tuple[Record, BadMessage]]], Awaitable[None]]


class History:
    """Keeps the tables up to the log."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._read: dict[TopicPartition, int] = {}
        self._stored: dict[TopicPartition, int] = {}
        self._waiting: dict[str, list[pa.Table]] = {topic: [] for topic in TOPICS}
        self._oldest: float | None = None
        self._asked = asyncio.Event()
        self._consumer: Consumer | None = None

    async def run(self, log: Log, park: Park) -> None:
        """Until cancelled. Raises DeltaError when a commit is refused: the process starts anew from what is stored.

        park: puts away records that can't be read, with their reasons; called before their offsets are stored.
        """
        self._consumer = await log.consumer(TOPICS, GROUP, self._assigned, self._revoked)
        try:
            while True:
                for piece in await self._consumer.poll(POLL_RECORDS, POLL_WAIT_MS):
                    await self._take(piece, park)
                if self._due():
                    await self._flush()
        finally:
            await self._consumer.close()

    async def cover(self, ends: dict[TopicPartition, int]) -> None:
        """Returns once the tables hold every row before these offsets of the partitions that are ours."""
        while any(self._stored.get(place, 0) < end for place, end in ends.items()):
            self._asked.set()
            await asyncio.sleep(COVER_CHECK_S)

    def positions(self) -> dict[str, dict[int, int]]:
        """`{topic: {partition: offset after the last stored row}}`."""
        shown: dict[str, dict[int, int]] = {}
        for (topic, partition), end in sorted(self._stored.items()):
            shown.setdefault(topic, {})[partition] = end
        return shown

    async def _assigned(self, places: Collection[TopicPartition]) -> None:
        for topic, partition in places:
            stored = await asyncio.to_thread(self._tables.position, topic, partition)
            self._stored[topic, partition] = self._read[topic, partition] = stored
            if self._consumer is None:
                raise TryAgain("the consumer is not there yet")
            self._consumer.seek(topic, partition, stored)

    async def _revoked(self, places: Collection[TopicPartition]) -> None:
        """What gathered but is not stored goes: the next owner reads it again."""
        for place in places:
            self._stored.pop(place, None)
            self._read.pop(place, None)
        self._waiting = {topic: [] for topic in TOPICS}
        for place in self._read:
            self._read[place] = self._stored[place]
            if self._consumer is not None:
                self._consumer.seek(*place, self._stored[place])

    async def _take(self, piece: Slice, park: Park) -> None:
        place = (piece.topic, piece.partition)
        if place not in self._read or piece.end <= self._read[place]:
            return
        batch, bad = read_batch(piece.records)
        if bad:
            by_offset = {record.offset: record for record in piece.records}
            await park([(by_offset[one.at.offset], one) for one in bad if one.at is not None])
        if batch is not None:
            self._waiting[piece.topic].append(await asyncio.to_thread(table_of, batch))
            self._oldest = self._oldest or monotonic()
        self._read[place] = piece.end

    def _due(self) -> bool:
        rows = sum(len(table) for tables in self._waiting.values() for table in tables)
        old = self._oldest is not None and monotonic() - self._oldest > MAX_AGE_S
        return rows >= MAX_ROWS or old or (self._asked.is_set() and self._read != self._stored)

    async def _flush(self) -> None:
        self._asked.clear()
        for topic, tables in self._waiting.items():
            moved = {p: end for (t, p), end in self._read.items() if t == topic and self._stored[t, p] != end}
            if not moved:
                continue
            # Without a row too: the positions must move past records that were parked.
            rows = pa.concat_tables(tables) if tables else SCHEMAS[topic].empty_table()
            await asyncio.to_thread(self._tables.append, topic, rows, moved)
            self._waiting[topic] = []
            self._stored |= {(topic, partition): end for partition, end in moved.items()}
        self._oldest = None
