"""On a real broker: the log's contract, the topics of the catalogue, packed records through the wire."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime

import pytest

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.codec import encode
from driftloop_bus.errors import DriftloopError, TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.outgoing import to_records
from driftloop_bus.parking import Parked
from driftloop_bus.ports import Log, Outgoing, Record
from driftloop_bus.reading import read_batch
from driftloop_bus.testing import LogContract
from driftloop_bus.testing.log_contract import nobody, read
from driftloop_bus.topics import differing_topics, ensure_on_demand, ensure_these, ensure_topics, missing_topics
from driftloop_contracts import first
from driftloop_contracts.data_plane import PredictionMade

pytestmark = pytest.mark.stack

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


class TestKafkaLog(LogContract):
    @pytest.fixture(autouse=True)
    def _one_broker(self, kafka: str) -> None:
        self.kafka = kafka

    async def open_log(self) -> Log:
        return KafkaLog(self.kafka, "contract")

    async def new_topic(self, partitions: int) -> str:
        name = f"contract-{uuid.uuid4().hex[:8]}"
        await ensure_these(self.kafka, {name: (partitions, {})})
        return name

    def new_group(self) -> str:
        return f"group-{uuid.uuid4().hex[:8]}"


async def test_every_topic_is_made_once_and_as_the_catalogue_says(kafka: str) -> None:
    assert await ensure_topics(kafka) == []
    assert await missing_topics(kafka) == []
    assert await differing_topics(kafka) == []


async def test_a_topic_that_differs_from_what_is_wanted_is_refused(kafka: str) -> None:
    topic = f"differs-{uuid.uuid4().hex[:8]}"
    await ensure_these(kafka, {topic: (1, {"retention.ms": "1000"})})
    with pytest.raises(DriftloopError, match=r"retention.ms is 1000, not 2000"):
        await ensure_these(kafka, {topic: (1, {"retention.ms": "2000"})})
    with pytest.raises(DriftloopError, match="has 1 partitions, not 2"):
        await ensure_these(kafka, {topic: (2, {})})
    with pytest.raises(DriftloopError, match="refused"):
        await ensure_these(kafka, {f"{topic}-2": (1, {"retention.ms": "soon"})})


async def test_the_largest_record_that_a_stranger_can_write_can_be_parked(kafka: str) -> None:
    log = KafkaLog(kafka, "large")
    producer = await log.producer()
    (ack,) = await producer.send([Outgoing("observations.v1", b"k", b"x" * 1_048_000)])
    record = Record("observations.v1", *ack, 0, b"k", b"x" * 1_048_000)
    batch, (bad,) = read_batch([record])
    assert batch is None
    await producer.send([Parked(record, bad).letter("feature_store", "1.0")])
    await log.close()


async def test_a_model_gets_its_small_topic_on_demand(kafka: str) -> None:
    model = f"m-{uuid.uuid4().hex[:8]}"
    assert await ensure_on_demand(kafka, model) == f"retraining.{model}.v1"
    assert await ensure_on_demand(kafka, model) == f"retraining.{model}.v1"


async def test_packed_records_go_through_the_broker(kafka: str) -> None:
    model = f"m-{uuid.uuid4().hex[:8]}"
    events = [
        first(PredictionMade(prediction_id=f"p{row}", model=model, features={"x": row}), id=f"{model}-{row}", time=NOON)
        for row in range(300)
    ]
    log = KafkaLog(kafka, "packing")
    acks = await (await log.producer(compressed=True)).send(to_records(events, "serving"))
    assert len(acks) == 2
    consumer = await log.consumer(["predictions.v1"], None, nobody, nobody)
    records = await read(consumer, 2)
    while len(ours := [record for record in records if record.key == model.encode()]) < 2:
        records += await read(consumer, 1)
    batch, bad = read_batch(ours)
    assert isinstance(batch, PredictionBatch)
    assert bad == []
    assert batch.prediction_ids == [f"p{row}" for row in range(300)]
    await log.close()


async def test_a_hop_takes_milliseconds(kafka: str) -> None:
    log, topic = KafkaLog(kafka, "hop"), f"hop-{uuid.uuid4().hex[:8]}"
    await ensure_these(kafka, {topic: (1, {})})
    producer, consumer = await log.producer(), await log.consumer([topic], None, nobody, nobody)
    event = encode(first(PredictionMade(prediction_id="p", model="m"), id="1", time=NOON), "serving", topic=topic)
    await producer.send([event])
    await read(consumer, 1)
    hops = []
    for _ in range(50):
        poll = asyncio.create_task(consumer.poll(10, 5_000))
        await asyncio.sleep(0.005)
        started = time.monotonic()
        await producer.send([event])
        assert await poll
        hops.append(time.monotonic() - started)
    print(f"hop: p50 {sorted(hops)[25] * 1000:.1f} ms, worst {max(hops) * 1000:.1f} ms")
    assert sorted(hops)[25] < 0.25
    await log.close()


async def test_a_broker_that_nobody_runs_is_waited_for() -> None:
    log = KafkaLog("127.0.0.1:9", "nobody")
    consumer = await log.consumer(["drift.v1"], "g", nobody, nobody)
    assert await consumer.poll(10, 300) == []
    assert consumer.waiting_for
    with pytest.raises(TryAgain):
        await log.end_offsets(["drift.v1"])
    with pytest.raises(TryAgain):
        await missing_topics("127.0.0.1:9")
    await log.close()


async def test_where_sixty_topics_end_is_one_question(kafka: str) -> None:
    name = uuid.uuid4().hex[:8]
    topics = [f"many-{name}-{number}" for number in range(60)]
    await ensure_these(kafka, {topic: (1, {}) for topic in topics})
    log = KafkaLog(kafka, "many")
    # Asked for one by one, a tenth of a second each, they would take longer than an answer may.
    assert await log.end_offsets(topics) == {(topic, 0): 0 for topic in topics}
    assert await log.end_offsets(topics[:1]) == {(topics[0], 0): 0}
    await log.close()


async def test_who_stops_leaves_its_partitions_to_a_member_elsewhere_at_once(kafka: str) -> None:
    topic, group = f"left-{uuid.uuid4().hex[:8]}", f"group-{uuid.uuid4().hex[:8]}"
    await ensure_these(kafka, {topic: (2, {})})
    for place in ("here", "there", "elsewhere"):
        log = KafkaLog(kafka, "leaving", instance=place)
        consumer = await log.consumer([topic], group, nobody, nobody)
        # Far below the session's 30 s, after which the broker would have missed the one before.
        async with asyncio.timeout(10):
            while len(consumer.assignment()) < 2:
                await consumer.poll(1, 50)
        await log.close()
