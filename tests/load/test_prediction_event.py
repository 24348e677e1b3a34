"""What the event of a prediction costs, from the scored row to Kafka's ack, beside a producer that people write by hand."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import uvloop
from aiokafka import AIOKafkaProducer
from tests.load.by_hand import FEATURES, MODEL, fresh_topic
from tests.load.costs import Cell, Table, scale, small_heap

from driftloop_bus.kafka import KafkaLog
from driftloop_bus.spool import Spool
from driftloop_contracts import rfc3339
from serving.records import Prediction, Recorder

pytestmark = pytest.mark.stack
FLOOR: Final = "floor: aiokafka batch builder"
OURS: Final = "serving: recorded, spooled, packed, sent"
BEFORE: Final = "serving: recorded, spooled (before the answer)"
SEND: Final = "json and aiokafka send, acks later"
SEND_AND_WAIT: Final = "json and aiokafka send_and_wait"
TICK: Final = 8
# Who waits for each ack pays a hundred times: fewer say as much.
WAITED_SHARE: Final = 20
SENT_WITHIN_S: Final = 60.0

ROWS: Final = [
    dict(zip(FEATURES, row, strict=True))
    for row in np.random.default_rng(7).normal(size=(500, len(FEATURES))).round(6).tolist()
]

Way = Callable[[str, Path, int], Coroutine[Any, Any, float]]


def test_the_event_of_a_prediction(kafka: str, tmp_path: Path) -> None:
    count = scale().requests * 2
    ways: dict[str, tuple[Way, int]] = {
        FLOOR: (_batches, count), SEND: (_sent, count), SEND_AND_WAIT: (_waited, count // WAITED_SHARE),
        BEFORE: (_spooled, count), OURS: (_all_the_way, count),
    }  # fmt: skip
    table = Table(f"the event of a prediction, 26 features, {TICK} a tick", OURS, FLOOR)
    for _ in range(scale().rounds):
        for row, (way, events) in ways.items():
            with small_heap():
                table.add(row, Cell(uvloop.run(way(kafka, tmp_path / uuid.uuid4().hex, events)) * 1e6 / events))
    table.show()
    assert table.ratio(OURS, SEND_AND_WAIT) < 1


def _value(at: int) -> bytes:
    """As a hand-written service says it."""
    return json.dumps({
        "prediction_id": str(uuid.uuid4()),
        "model": MODEL,
        "version": "1",
        "features": ROWS[at % len(ROWS)],
        "score": 0.5,
        "prediction": True,
        "latency_ms": 1.5,
        "served_at": datetime.now(UTC).isoformat(),
    }).encode()  # fmt: skip


async def _batches(kafka: str, _: Path, count: int) -> float:
    topic, values = await fresh_topic(kafka), [_value(at) for at in range(count)]
    async with AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=5) as producer:
        await producer.send_and_wait(topic, values[0])
        began = time.process_time()
        batch = producer.create_batch()
        for value in values:
            if batch.append(key=None, value=value, timestamp=None) is None:
                await producer.send_batch(batch, topic, partition=0)
                batch = producer.create_batch()
                batch.append(key=None, value=value, timestamp=None)
        await (await producer.send_batch(batch, topic, partition=0))
        await producer.flush()
        return time.process_time() - began


async def _sent(kafka: str, _: Path, count: int) -> float:
    topic = await fresh_topic(kafka)
    async with AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=5) as producer:
        await producer.send_and_wait(topic, b"{}")
        began = time.process_time()
        for at in range(count):
            await producer.send(topic, _value(at), key=MODEL.encode())
            if at % TICK == 0:
                await asyncio.sleep(0)
        await producer.flush()
        return time.process_time() - began


async def _waited(kafka: str, _: Path, count: int) -> float:
    topic = await fresh_topic(kafka)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(topic, b"{}")
        began = time.process_time()
        for at in range(count):
            await producer.send_and_wait(topic, _value(at), key=MODEL.encode())
        return time.process_time() - began


async def _spooled(_: str, folder: Path, count: int) -> float:
    spool = Spool(folder)
    began = time.process_time()
    _append(spool, 0, count)
    spent = time.process_time() - began
    assert spool.pending() == count
    spool.close()
    return spent


async def _all_the_way(kafka: str, folder: Path, count: int) -> float:
    """The spool sends in the same loop meanwhile, as in serving."""
    spool, log = Spool(folder), KafkaLog(kafka, "load")
    sending = asyncio.create_task(spool.run(log))
    _append(spool, 0, 1)
    await _until_sent(spool, sending)
    began = time.process_time()
    for start in range(0, count, TICK):
        _append(spool, start, min(TICK, count - start))
        await asyncio.sleep(0)
    await _until_sent(spool, sending)
    spent = time.process_time() - began
    spool.stop()
    await sending
    await log.close()
    spool.close()
    return spent


def _append(spool: Spool, start: int, count: int) -> None:
    """What serving does at the end of each tick."""
    for first in range(start, start + count, TICK):
        recorder = Recorder(MODEL, "1", "champion")
        ticked = range(first, min(first + TICK, start + count))
        spool.append([recorder.record(_prediction(at), rfc3339(datetime.now(UTC))) for at in ticked])


def _prediction(at: int) -> Prediction:
    return Prediction(
        id=str(uuid.uuid4()), time=datetime.now(UTC), features=ROWS[at % len(ROWS)], score=0.5, prediction=True, entity=None,
        keys={}, segment={}, latency_ms=1.5, feature_times={},
    )  # fmt: skip


async def _until_sent(spool: Spool, sending: asyncio.Task[None]) -> None:
    async with asyncio.timeout(SENT_WITHIN_S):
        while spool.pending() and not sending.done():  # noqa: ASYNC110  # the spool tells nobody
            await asyncio.sleep(0.005)
    assert not spool.pending()
