"""What people write by hand: one aiokafka consumer, a loop, and river where drift is looked for. One core, no database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import uvloop
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from river.drift import ADWIN
from tests.load.costs import small_heap
from tests.load.world import FEATURES, Stretch

from driftloop_bus.kafka import KafkaLog
from driftloop_bus.reading import read_batch
from driftloop_contracts.topics import PREDICTIONS

FLOOR: Final = "floor: getmany, records only"
DECODED: Final = "plain loop: getmany, decoded"
LOSS: Final = "plain loop, joined, 1 ADWIN on the loss"
ADWINS: Final = "plain loop, 20 ADWIN on the features"
OURS_READ: Final = "our log and columns alone"
ROWS: Final = (FLOOR, DECODED, LOSS, ADWINS, OURS_READ)
# The kindest settings that were found: few fetches, many records a batch.
FETCH_BYTES: Final = 4 << 20
MOST: Final = 2_048

Look = Callable[[list[ConsumerRecord]], object]


def cpu_of(row: str, kafka: str, form: str, stretches: Sequence[Stretch]) -> float:
    """CPU seconds of the row's loop over the stretches, from the first fetch to the last record."""
    with small_heap():
        if row == OURS_READ:
            return float(uvloop.run(_read_by_us(kafka, stretches)))
        return float(uvloop.run(_read_by_hand(kafka, stretches, _look(row, form))))


async def _read_by_hand(kafka: str, stretches: Sequence[Stretch], look: Look) -> float:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, max_partition_fetch_bytes=FETCH_BYTES
    )
    await consumer.start()
    try:
        left = {TopicPartition(one.topic, one.partition): one.end for one in stretches}
        consumer.assign(list(left))
        began = time.process_time()
        for one in stretches:
            consumer.seek(TopicPartition(one.topic, one.partition), one.start)
        while left:
            for place, records in (await consumer.getmany(timeout_ms=500, max_records=MOST)).items():
                look([record for record in records if record.offset < left.get(place, 0)])
                if records[-1].offset + 1 >= left.get(place, 0):
                    left.pop(place, None)
        return time.process_time() - began
    finally:
        await consumer.stop()


async def _read_by_us(kafka: str, stretches: Sequence[Stretch]) -> float:
    """The log and the batches of the bus, without a ledger and a handler."""
    log = KafkaLog(kafka, "load")

    async def assigned(_: object) -> None:
        return

    topics = sorted({one.topic for one in stretches})
    wanted = {(one.topic, one.partition): one for one in stretches}
    try:
        consumer = await log.consumer(topics, None, assigned, assigned)
        while not consumer.assignment():
            await consumer.poll(1, 100)
        consumer.pause([place for place in consumer.assignment() if place not in wanted])
        began = time.process_time()
        for one in stretches:
            consumer.seek(one.topic, one.partition, one.start)
        left = set(wanted)
        while left:
            for found in await consumer.poll(5_000, 500):
                if (place := (found.topic, found.partition)) in left:
                    _, bad = read_batch(found.records)
                    assert not bad
                    left -= {place} if found.end >= wanted[place].end else set()
        return time.process_time() - began
    finally:
        await log.close()


def _look(row: str, form: str) -> Look:
    decode = _matrices if form == "packed" else _documents
    looks: dict[str, Callable[[], Look]] = {
        FLOOR: lambda: len,
        DECODED: lambda: decode,
        LOSS: lambda: _Losses(decode),
        ADWINS: lambda: _Features(decode),
    }
    return looks[row]()


Decoded = list[tuple[str, list[str], Any, Any]]
"""Of each record: its topic, the prediction ids, scores or outcomes, and the rows of features."""


def _documents(records: Sequence[ConsumerRecord]) -> Decoded:
    made: Decoded = []
    for record in records:
        said = json.loads(record.value)
        if record.topic == PREDICTIONS.name:
            features = said["features"]
            made.append(
                (record.topic, [said["prediction_id"]], [said["score"]], [[features[name] for name in FEATURES]])
            )
        else:
            made.append((record.topic, [said["prediction_id"]], [said["value"]], ()))
    return made


def _matrices(records: Sequence[ConsumerRecord]) -> Decoded:
    made: Decoded = []
    for record in records:
        table = pa.ipc.open_stream(record.value).read_all()
        ids = table["prediction_id"].to_pylist()
        if record.topic == PREDICTIONS.name:
            rows = np.column_stack([table[f"features.{name}"].to_numpy() for name in FEATURES])
            made.append((record.topic, ids, table["score"].to_pylist(), rows.tolist()))
        else:
            made.append((record.topic, ids, table["value"].to_pylist(), ()))
    return made


class _Losses:
    """Joins predictions with outcomes in a dict, and watches the Brier loss."""

    def __init__(self, decode: Callable[[Sequence[ConsumerRecord]], Decoded]) -> None:
        self._decode = decode
        self._scores: dict[str, float] = {}
        self._values: dict[str, float] = {}
        self._watch = ADWIN()

    def __call__(self, records: Sequence[ConsumerRecord]) -> None:
        for topic, ids, said, _ in self._decode(records):
            mine, others = (self._scores, self._values) if topic == PREDICTIONS.name else (self._values, self._scores)
            for identity, value in zip(ids, said, strict=True):
                other = others.pop(identity, None)
                if other is None:
                    mine[identity] = value
                else:
                    self._watch.update((value - other) ** 2)


class _Features:
    """One detector a feature."""

    def __init__(self, decode: Callable[[Sequence[ConsumerRecord]], Decoded]) -> None:
        self._decode = decode
        self._watches = [ADWIN() for _ in FEATURES]

    def __call__(self, records: Sequence[ConsumerRecord]) -> None:
        for _, _, _, rows in self._decode(records):
            for row in rows:
                for watch, value in zip(self._watches, row, strict=True):
                    watch.update(value)
