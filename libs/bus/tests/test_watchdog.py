"""What stops without a word is found and made anew: a deaf consumer, a producer out of step, a client that can't end."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from driftloop_bus.errors import Stuck, TryAgain
from driftloop_bus.kafka import KafkaLog, connection
from driftloop_bus.kafka.consumer import KafkaConsumer
from driftloop_bus.kafka.deadlines import ended
from driftloop_bus.kafka.producer import KafkaProducer
from driftloop_bus.kafka.watchdog import LOOKS, Watchdog
from driftloop_bus.ports import Outgoing
from driftloop_bus.testing import everything
from driftloop_bus.testing.log_contract import nobody, read
from driftloop_bus.topics import ensure_these
from driftloop_local.stack import LocalStack

PLACE = ("t", 0)


def looks(*positions: int | None, end: int = 10) -> list[str | None]:
    """What a watchdog says at each look."""
    dog = Watchdog({}, ["t"])
    return [dog.count({PLACE: at}, {PLACE: end}) for at in positions]


def test_who_stands_still_before_the_end_is_deaf() -> None:
    *before, last = looks(*[7] * (LOOKS + 1))
    assert before == [None] * LOOKS
    assert last == "t/0 stands still at 7 of 10"
    assert looks(*[None] * (LOOKS + 1))[-1] is not None


def test_who_is_at_the_end_or_moves_is_well() -> None:
    assert not any(looks(*[10] * (2 * LOOKS)))
    assert not any(looks(*[at // 3 for at in range(6 * LOOKS)], end=100))
    assert not any(looks(*[None] * (2 * LOOKS), end=0))


def test_what_is_not_listened_to_is_nobodys_fault() -> None:
    dog = Watchdog({}, ["t"])
    assert not any(dog.count({PLACE: 7} if look % LOOKS else {}, {PLACE: 10}) for look in range(3 * LOOKS))


def test_what_was_seen_before_the_broker_was_away_does_not_count() -> None:
    dog = Watchdog({}, ["t"])
    for _ in range(3):
        assert not any(dog.count({PLACE: 7}, {PLACE: 10}) for _ in range(LOOKS))
        dog.forget()


async def a_topic(kafka: str) -> str:
    topic = f"watched-{uuid.uuid4().hex[:8]}"
    await ensure_these(kafka, {topic: (1, {})})
    return topic


def client_of(consumer: Any) -> AIOKafkaConsumer:
    """aiokafka's own, to break it."""
    assert isinstance(consumer, KafkaConsumer)
    assert consumer._connection.client is not None
    return consumer._connection.client


def sender_of(producer: Any) -> AIOKafkaProducer:
    """aiokafka's own, to break it."""
    assert isinstance(producer, KafkaProducer)
    assert producer._client is not None
    return producer._client


@pytest.mark.parametrize("part", ["fetcher", "coordinator"])
async def test_a_consumer_whose_own_task_has_ended_hears_again(kafka: str, part: str) -> None:
    log, topic = KafkaLog(kafka, "watched"), await a_topic(kafka)
    producer, consumer = await log.producer(), await log.consumer([topic], f"g-{topic}", nobody, nobody)
    await producer.send([Outgoing(topic, b"k", b"1")])
    await read(consumer, 1)
    client = client_of(consumer)
    task = client._fetcher._fetch_task if part == "fetcher" else client._coordinator._coordination_task
    task.cancel()
    await asyncio.wait({task})
    await producer.send([Outgoing(topic, b"k", b"2")])
    assert (await read(consumer, 1, within_s=20))[-1].value in (b"1", b"2")
    assert client_of(consumer) is not client
    await log.close()


async def test_a_consumer_that_is_deaf_hears_again_and_is_given_up_when_it_is_deaf_again(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_AFTER_S", 0.2)
    log, topic = KafkaLog(kafka, "watched"), await a_topic(kafka)
    producer, consumer = await log.producer(), await log.consumer([topic], f"g-{topic}", nobody, nobody)
    await producer.send([Outgoing(topic, b"k", b"1")])
    await read(consumer, 1)
    await deafen(client_of(consumer))
    await producer.send([Outgoing(topic, b"k", b"2")])
    assert (await read(consumer, 2, within_s=30))[-1].value == b"2"
    await deafen(client_of(consumer))
    await producer.send([Outgoing(topic, b"k", b"3")])
    with pytest.raises(Stuck, match="deaf again"):
        await read(consumer, 2, within_s=30)
    await log.close()


async def test_a_reader_that_comes_late_to_what_it_has_fetched_is_not_deaf(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_AFTER_S", 0.05)
    log, topic = KafkaLog(kafka, "watched"), f"watched-{uuid.uuid4().hex[:8]}"
    await ensure_these(kafka, {topic: (2, {})})
    producer, consumer = await log.producer(), await log.consumer([topic], f"g-{topic}", nobody, nobody)
    await producer.send([Outgoing(topic, None, b"1", partition=number % 2) for number in range(1_000)])
    assert await consumer.poll(1, 20_000)
    client, found = client_of(consumer), set[int]()
    for _ in range(400):
        found |= {one.partition for one in await consumer.poll(1, 100)}
        await asyncio.sleep(0.01)
    assert len(found) == 1, "one of the partitions was not come to at all"
    assert client_of(consumer) is client
    await log.close()


async def deafen(client: AIOKafkaConsumer) -> None:
    """It believes for ever that the broker has not answered its last fetch."""
    client._fetcher._in_flight = _Everything()
    # A fetch that is under way ends by then.
    await asyncio.sleep(2 * connection.FETCH_WAIT_MS / 1000)


class _Everything(set[int]):
    def __contains__(self, _: object) -> bool:
        return True


async def test_a_producer_that_is_out_of_step_is_replaced_and_what_was_refused_goes_out_again(kafka: str) -> None:
    log, topic = KafkaLog(kafka, "watched"), await a_topic(kafka)
    producer = await log.producer()
    await producer.send([Outgoing(topic, b"k", b"1")])
    client = sender_of(producer)
    client._txn_manager.increment_sequence_number(TopicPartition(topic, 0), 7)
    with pytest.raises(TryAgain, match="OutOfOrderSequenceNumber"):
        await producer.send([Outgoing(topic, b"k", b"2")])
    await producer.send([Outgoing(topic, b"k", b"2")])
    assert sender_of(producer) is not client
    assert [record.value for record in await everything(log, topic)] == [b"1", b"2"]
    await log.close()


async def test_a_producer_whose_sender_has_ended_is_replaced_before_anybody_waits_for_it(kafka: str) -> None:
    log, topic = KafkaLog(kafka, "watched"), await a_topic(kafka)
    producer = await log.producer()
    await producer.send([Outgoing(topic, b"k", b"1")])
    task = sender_of(producer)._sender.sender_task
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(10):
        await producer.send([Outgoing(topic, b"k", b"2")])
    assert [record.value for record in await everything(log, topic)] == [b"1", b"2"]
    await log.close()


async def test_a_client_that_was_given_up_sends_nothing_when_its_broker_is_back(kafka: str, stack: LocalStack) -> None:
    log, topic = KafkaLog(kafka, "watched"), await a_topic(kafka)
    producer = await log.producer()
    await producer.send([Outgoing(topic, b"k", b"1")])
    client = sender_of(producer)
    stack.freeze("kafka")
    try:
        # Given to the client, not yet to the broker, as at a send that is given up.
        late = [await client.send(topic, b"late", b"k") for _ in range(2)]
        await asyncio.sleep(0.2)
        late.append(await client.send(topic, b"later", b"k"))
        await ended(client)
        assert client._sender.sender_task.done()
        assert {type(error).__name__ for error in await asyncio.gather(*late, return_exceptions=True)} == {"KafkaError"}
    finally:
        stack.thaw("kafka")
    await producer.send([Outgoing(topic, b"k", b"2")])
    said = [record.value for record in await everything(log, topic)]
    assert b"later" not in said
    await log.close()
