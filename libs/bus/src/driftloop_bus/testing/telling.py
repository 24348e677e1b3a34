"""What other services would have said, and what is on a topic by now: on any log, a real broker's too."""

from __future__ import annotations

from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Log, Record
from driftloop_bus.testing.log_contract import nobody
from driftloop_contracts import AnyEvent


async def say(log: Log, service: str, *events: AnyEvent, times: int = 2) -> None:
    """Each event is on its topic, so often: consumers must expect that."""
    producer = await log.producer()
    await producer.send([encode(event, service) for event in events for _ in range(times)])
    await producer.close()


async def publish(kafka: str, service: str, *events: AnyEvent) -> None:
    """Each event is once on the topic that this service writes it to."""
    log = KafkaLog(kafka, "tests")
    try:
        await say(log, service, *events, times=1)
    finally:
        await log.close()


async def everything(log: Log, topic: str) -> list[Record]:
    """The topic's records from its beginning to where it ends now; what a partition holds is in order."""
    consumer = await log.consumer([topic], None, nobody, nobody)
    ends, records = await log.end_offsets([topic]), list[Record]()
    while any(_next(records, partition) < end for (_, partition), end in ends.items()):
        for part in await consumer.poll(1000, 500):
            records.extend(part.records)
    await consumer.close()
    return records


def _next(records: list[Record], partition: int) -> int:
    return max((record.offset + 1 for record in records if record.partition == partition), default=0)
