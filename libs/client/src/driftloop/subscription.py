"""Subscribe to a topic: every event at least once, in order per model; the same group goes on where it stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Final

from driftloop_bus.kafka import KafkaLog

from driftloop.addresses import address_of
from driftloop_bus.codec import decode
from driftloop_bus.errors import BadMessage
from driftloop_bus.ports import TopicPartition
from driftloop_contracts import AnyEvent, Topic

POLL_RECORDS: Final = 500
POLL_WAIT_MS: Final = 500


async def subscribe(topic: Topic, group: str | None = None, *, kafka: str | None = None) -> AsyncIterator[AnyEvent]:
    """The topic's events as they come, from the first one that the group has not seen; without a group from the beginning.

    An event counts as seen once the next one is asked for: after a crash the last may come again, with the same id.
    Raises BadMessage on a record that is no event of the topic.
    """
    log = KafkaLog(kafka or address_of("kafka"), client_id=f"subscribe-{group or 'all'}")
    consumer = await log.consumer([topic.name], group, _nothing, _nothing)
    try:
        while True:
            for piece in await consumer.poll(POLL_RECORDS, POLL_WAIT_MS):
                for record in piece.records:
                    yield decode(record)
                    if group is not None:
                        await consumer.hint({(piece.topic, piece.partition): record.offset + 1})
    finally:
        await log.close()


async def _nothing(places: Collection[TopicPartition]) -> None:
    return


__all__ = ["BadMessage", "subscribe"]
