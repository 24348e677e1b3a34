"""Waiting until a service that reads the log has read it, and asking its database what came of that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Record, TopicPartition
from driftloop_bus.reading import read_batch
from driftloop_bus.testing import everything
from driftloop_contracts.topics import PREDICTIONS

# Together a send of this many stays far from the producer's deadline, also on a busy machine.
SENT_AT_ONCE: Final = 4_000
LOOK_S: Final = 0.02


async def send(kafka: str, records: Sequence[Outgoing]) -> None:
    """All of them are acked, in this order within a partition."""
    log = KafkaLog(kafka, "faults")
    try:
        producer = await log.producer(compressed=True)
        for start in range(0, len(records), SENT_AT_ONCE):
            await producer.send(records[start : start + SENT_AT_ONCE])
    finally:
        await log.close()


async def ends(kafka: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
    """Where the topics end."""
    log = KafkaLog(kafka, "faults")
    try:
        return await log.end_offsets(topics)
    finally:
        await log.close()


async def on_log(kafka: str, topic: str) -> list[Record]:
    """Everything on the topic."""
    log = KafkaLog(kafka, "faults")
    try:
        return await everything(log, topic)
    finally:
        await log.close()


async def predicted(kafka: str) -> list[str]:
    """The ids of all predictions on their topic, those of packed records too."""
    records = await on_log(kafka, PREDICTIONS.name)
    found: list[str] = []
    for part in {record.partition for record in records}:
        batch, bad = read_batch([record for record in records if record.partition == part])
        assert isinstance(batch, PredictionBatch)
        assert not bad
        found += batch.prediction_ids
    return found


async def until_read(url: str, wanted: Mapping[TopicPartition, int], within_s: float) -> float:
    """Everything up to these offsets is committed, and nothing waits to go out; how many records a second that were.

    Counted from the moment at which one of these partitions was claimed: what a process does before is starting.
    """
    connection = await asyncpg.connect(url)
    begun: tuple[float, int] | None = None
    deadline = time.monotonic() + within_s
    try:
        while True:
            done, now = await _done(connection, wanted), time.monotonic()
            if begun is None and done is not None:
                begun = (now, done)
            if done == sum(wanted.values()):
                break
            assert now < deadline, f"{done} of {sum(wanted.values())} records are read within {within_s:g} s"
            await asyncio.sleep(LOOK_S)
        assert begun is not None
        assert done is not None
        await until(connection, "SELECT count(*) = 0 FROM outbox WHERE published_at IS NULL", within_s)
        return (done - begun[1]) / (now - begun[0]) if now > begun[0] else 0.0
    finally:
        await connection.close()


async def until(connection: Any, so: str, within_s: float) -> None:
    """The query says true. Raises TimeoutError when it does not come to that in time."""
    async with asyncio.timeout(within_s):
        while not await connection.fetchval(so):  # noqa: ASYNC110  # another process
            await asyncio.sleep(LOOK_S)


async def asked(url: str, query: str, *words: Any) -> Any:
    """The query's one value."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query, *words)
    finally:
        await connection.close()


async def rows(url: str, query: str, *words: Any) -> list[Any]:
    """The query's rows."""
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(query, *words))
    finally:
        await connection.close()


async def _done(connection: Any, wanted: Mapping[TopicPartition, int]) -> int | None:
    """How many are done; None before one of the partitions was claimed."""
    rows = await connection.fetch("SELECT topic, part, next_offset FROM consumer_offset")
    read = {(row["topic"], row["part"]): row["next_offset"] for row in rows}
    mine = {place: end for place, end in wanted.items() if end}
    return sum(min(read.get(place, 0), end) for place, end in mine.items()) if mine.keys() & read.keys() else None
