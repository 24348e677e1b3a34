"""Subscribe to a topic: every event at least once, in order per model; the same group goes on where it stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Collection
from typing import Final

from driftloop.addresses import address_of
from driftloop_bus.codec import decode
from driftloop_bus.errors import BadMessage, TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Consumer, Record, TopicPartition
from driftloop_contracts import FACTS, AnyEvent, Topic

POLL_RECORDS: Final = 500
POLL_WAIT_MS: Final = 500
# A round trip for each event would be most of a catch-up's time.
REMEMBER_EACH_S: Final = 0.5
log = logging.getLogger(__name__)


async def subscribe(topic: Topic, group: str | None = None, *, kafka: str | None = None) -> AsyncIterator[AnyEvent]:
    """The topic's events as they come, from the first one that the group has not seen; without a group from the beginning.

    An event counts as seen once the next one is asked for, and that is remembered at least twice a second: after a crash
    the last ones may come again, with the same id. A broker that is away is waited for. Types that this version does not
    know are passed by.
    Raises ValueError for a topic of many events (read it in batches: `driftloop_bus`), BadMessage for a record that is no
    event; subscribed again, the group goes on behind it.
    """
    if topic.open_to_producers:
        raise ValueError(f"{topic.name} carries packed records: read it in batches, with driftloop_bus")
    client = KafkaLog(kafka or address_of("kafka"), client_id=f"subscribe-{group or 'all'}")
    consumer = await client.consumer([topic.name], group, _nothing, _nothing)
    seen = _Seen(consumer, group is not None)
    try:
        while True:
            for piece in await consumer.poll(POLL_RECORDS, POLL_WAIT_MS):
                for record in piece.records:
                    if _is_known(record):
                        yield _event(record, seen)
                    await seen.add(record)
                await seen.remember()
    finally:
        await seen.remember()
        await client.close()


class _Seen:
    """How far the group is, told to the broker now and then."""

    def __init__(self, consumer: Consumer, by_group: bool) -> None:
        self._consumer, self._by_group = consumer, by_group
        self._next: dict[TopicPartition, int] = {}
        self._due_at = 0.0

    def passed(self, record: Record) -> None:
        if self._by_group:
            self._next[record.topic, record.partition] = record.offset + 1

    async def add(self, record: Record) -> None:
        self.passed(record)
        if time.monotonic() >= self._due_at:
            await self.remember()

    async def remember(self) -> None:
        if not self._next:
            return
        self._due_at = time.monotonic() + REMEMBER_EACH_S
        try:
            await self._consumer.hint(self._next)
        except TryAgain as away:
            # It is told again with the next event; until then the last ones may come twice.
            log.info("where the group stopped is not stored yet: %s", away)
            return
        self._next.clear()


def _is_known(record: Record) -> bool:
    """No tombstone, and no type of a later version."""
    kind = dict(record.headers).get("ce_type")
    return record.value is not None and (kind is None or kind.decode(errors="replace") in FACTS)


def _event(record: Record, seen: _Seen) -> AnyEvent:
    try:
        return decode(record)
    except BadMessage:
        seen.passed(record)
        raise


async def _nothing(places: Collection[TopicPartition]) -> None:
    return


__all__ = ["BadMessage", "subscribe"]
