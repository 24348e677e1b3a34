"""Topics as files: one gzip a partition, one JSON line a record with its offset, key, value and headers."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.kafka.administration import list_topics
from driftloop_bus.ports import Outgoing, Record, TopicPartition

RECORDS_A_SEND: Final = 500
POLL_MS: Final = 500
ANSWERS_WITHIN_S: Final = 60.0
Told = Callable[[int], None]
"""Told how many records were done since it was told last."""


async def names(kafka: str) -> list[str]:
    """Every topic that the broker has, its own apart."""
    there = await list_topics({"bootstrap_servers": kafka, "client_id": "driftloop-backup"})
    return sorted(name for name in there if not name.startswith("__"))


async def ends(log: KafkaLog, topics: Sequence[str]) -> dict[TopicPartition, int]:
    """The offset after the last record of each partition. A busy broker is asked again; raises TryAgain after a minute."""
    deadline = time.monotonic() + ANSWERS_WITHIN_S
    while topics:
        try:
            return await log.end_offsets(topics)
        except TryAgain:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)
    return {}


async def save(
    log: KafkaLog, until: Mapping[TopicPartition, int], folder: Path, told: Told
) -> dict[TopicPartition, int]:
    """What each partition holds before its end is in its file; how many records that are."""
    counts = dict.fromkeys(until, 0)
    files = {place: gzip.open(file_of(folder, place), "wt", encoding="utf-8") for place in until}  # noqa: SIM115
    consumer = await log.consumer(sorted({topic for topic, _ in until}), None, _nobody, _nobody)
    try:
        while not _reached(await consumer.positions(), until):
            for one in await consumer.poll(5_000, POLL_MS):
                place = (one.topic, one.partition)
                kept = [record for record in one.records if record.offset < until[place]]
                files[place].writelines(json.dumps(_plain(record)) + "\n" for record in kept)
                counts[place] += len(kept)
                told(len(kept))
    finally:
        await consumer.close()
        for file in files.values():
            file.close()
    return counts


async def load(log: KafkaLog, places: Collection[TopicPartition], folder: Path, told: Told) -> None:
    """Every partition holds its file's records, in their order and with nothing between them."""
    producer = await log.producer(linger_ms=5)
    for place in sorted(places):
        waiting: list[Outgoing] = []
        for record in records(folder, place):
            waiting.append(_again(place, record))
            if len(waiting) == RECORDS_A_SEND:
                told(len(await producer.send(waiting)))
                waiting = []
        if waiting:
            told(len(await producer.send(waiting)))
    await producer.close()


def offsets(folder: Path, place: TopicPartition) -> list[int]:
    """The offsets that the partition's records had, in their order: the index is the offset that they have once restored."""
    return [record["offset"] for record in records(folder, place)]


def records(folder: Path, place: TopicPartition) -> Iterator[dict[str, Any]]:
    with gzip.open(file_of(folder, place), "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def file_of(folder: Path, place: TopicPartition) -> Path:
    return folder / f"{place[0]}.{place[1]}.jsonl.gz"


def _reached(positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> bool:
    return all(end == 0 or positions.get(place, 0) >= end for place, end in ends.items())


def _plain(record: Record) -> dict[str, Any]:
    return {
        "offset": record.offset, "at_ms": record.timestamp_ms, "key": _text(record.key), "value": _text(record.value),
        "headers": [[name, _text(value)] for name, value in record.headers],
    }  # fmt: skip


def _again(place: TopicPartition, record: Mapping[str, Any]) -> Outgoing:
    headers = tuple((name, _bytes(value) or b"") for name, value in record["headers"])
    value = _bytes(record["value"])
    return Outgoing(place[0], _bytes(record["key"]), value, headers, place[1])  # type: ignore[arg-type]  # a tombstone


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


async def _nobody(partitions: Collection[TopicPartition]) -> None:
    return None
