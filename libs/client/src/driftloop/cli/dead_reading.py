"""Topics read once, from the beginning to where they end now, by nobody's group; and one record by its place."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final

import stamina

from driftloop.cli.doors import Refusal
from driftloop_bus.errors import Position, TryAgain
from driftloop_bus.ports import Consumer, Log, Record, TopicPartition

POLL_RECORDS: Final = 2_000
POLL_WAIT_MS: Final = 200
# A broker that was killed is back within this time.
SILENT_S: Final = 15.0


async def records(log: Log, topics: Sequence[str]) -> AsyncIterator[Record]:
    """Each record once, in order within a partition. Raises Refusal while the broker is silent, TryAgain while it is away."""
    ends = {place: end for place, end in (await _ends(log, topics)).items() if end} if topics else {}
    if not ends:
        return
    consumer = await log.consumer(sorted({topic for topic, _ in ends}), None, _nothing, _nothing)
    # A connection that is made anew begins at the beginning again.
    seen: dict[TopicPartition, int] = {}
    try:
        async for record in _until(consumer, ends):
            place = (record.topic, record.partition)
            if seen.get(place, 0) <= record.offset < ends.get(place, 0):
                seen[place] = record.offset + 1
                yield record
    finally:
        await consumer.close()


async def record_at(log: Log, place: Position) -> Record | None:
    """The record that lies there; None when the log does not hold it any more. Raises as `records`."""
    ours = (place.topic, place.partition)
    ends = await _ends(log, [place.topic])
    if ends.get(ours, 0) <= place.offset:
        return None
    consumer = await log.consumer([place.topic], None, _nothing, _nothing)
    try:
        await _connected(consumer)
        consumer.pause([other for other in ends if other != ours])
        consumer.seek(*ours, place.offset)
        async for record in _until(consumer, {ours: ends[ours]}):
            if record.partition == place.partition and record.offset >= place.offset:
                return record if record.offset == place.offset else None
    finally:
        await consumer.close()
    return None


async def _until(consumer: Consumer, ends: Mapping[TopicPartition, int]) -> AsyncIterator[Record]:
    heard_at = time.monotonic()
    while not await _passed(consumer, ends):
        for piece in await consumer.poll(POLL_RECORDS, POLL_WAIT_MS):
            heard_at = time.monotonic()
            for record in piece.records:
                yield record
        _refuse_silence(consumer, heard_at)


async def _passed(consumer: Consumer, ends: Mapping[TopicPartition, int]) -> bool:
    found = await consumer.positions()
    return all(found.get(place, -1) >= end for place, end in ends.items())


async def _connected(consumer: Consumer) -> None:
    began = time.monotonic()
    while not consumer.assignment():
        await consumer.poll(1, POLL_WAIT_MS)
        _refuse_silence(consumer, began)


def _refuse_silence(consumer: Consumer, since: float) -> None:
    if time.monotonic() - since > SILENT_S:
        raise Refusal(f"Kafka is silent: {consumer.waiting_for or 'nothing comes'}")


async def _ends(log: Log, topics: Sequence[str]) -> dict[TopicPartition, int]:
    async for attempt in stamina.retry_context(on=TryAgain, attempts=None, timeout=SILENT_S, wait_max=1.0):
        with attempt:
            return await log.end_offsets(topics)
    raise AssertionError("the last attempt raises")


async def _nothing(places: Collection[TopicPartition]) -> None:
    return
