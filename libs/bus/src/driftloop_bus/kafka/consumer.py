"""What comes in: slices of partitions, and where each stands."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from driftloop_bus import ports
from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka.connection import Connection
from driftloop_bus.kafka.deadlines import in_time, said
from driftloop_bus.kafka.places import end_offsets, plain
from driftloop_bus.kafka.watchdog import position
from driftloop_bus.ports import Record, Slice


class KafkaConsumer:
    """As `ports.Consumer`. While there is no connection it hears nothing, and says why."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def poll(self, max_records: int, wait_ms: int) -> list[Slice]:
        """As `ports.Consumer`. Raises Stuck when a client that was just made anew is deaf as well."""
        client = await self._connection.ready(wait_ms / 1000)
        if client is None:
            return []
        if sick := self._connection.sick():
            await self._connection.rebuild(sick)
            return []
        try:
            # During a rebalance aiokafka waits longer than it was asked to. Not wait_for: before Python 3.12 it swallows a
            # cancellation that comes together with the records.
            async with asyncio.timeout(wait_ms / 1000 + 1):
                found = await client.getmany(timeout_ms=wait_ms, max_records=max_records)
        except TimeoutError:
            found = {}
        except KafkaError as error:
            await self._connection.give_up(f"the broker refused: {said(error)}")
            found = {}
        self._connection.look(bool(found))
        return [_slice(place, messages) for place, messages in found.items() if messages]

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """As `ports.Consumer`."""
        client = self._connection.client
        if client is not None and (ours := _ours(client, [(topic, partition)])):
            client.seek(ours[0], offset)

    def pause(self, partitions: Collection[ports.TopicPartition]) -> None:
        """As `ports.Consumer`."""
        client = self._connection.client
        if client is not None and (ours := _ours(client, partitions)):
            client.pause(*ours)

    def resume(self, partitions: Collection[ports.TopicPartition]) -> None:
        """As `ports.Consumer`."""
        client = self._connection.client
        if client is not None and (ours := _ours(client, partitions)):
            client.resume(*ours)

    async def hint(self, next_offsets: Mapping[ports.TopicPartition, int]) -> None:
        """As `ports.Consumer`."""
        client = self._connection.client
        if client is None or not (ours := _ours(client, next_offsets)):
            raise TryAgain("none of the partitions is ours now")
        await in_time(client.commit({place: next_offsets[plain(place)] for place in ours}))

    async def end_offsets(self) -> dict[ports.TopicPartition, int]:
        """As `ports.Consumer`."""
        client = self._connection.client
        if client is None:
            raise TryAgain(self._connection.reason or "not connected")
        return await end_offsets(client, client.assignment())

    async def positions(self) -> dict[ports.TopicPartition, int]:
        """As `ports.Consumer`."""
        client = self._connection.client
        if client is None:
            return {}
        places = sorted(client.assignment())
        found = await asyncio.gather(*(position(client, place) for place in places))
        return {plain(place): offset for place, offset in zip(places, found, strict=True) if offset is not None}

    def assignment(self) -> frozenset[ports.TopicPartition]:
        """As `ports.Consumer`."""
        client = self._connection.client
        return frozenset() if client is None else frozenset(plain(place) for place in client.assignment())

    @property
    def waiting_for(self) -> str | None:
        """As `ports.Consumer`."""
        return self._connection.reason

    async def close(self) -> None:
        """As `ports.Consumer`."""
        await self._connection.close()


def _ours(client: AIOKafkaConsumer, partitions: Collection[ports.TopicPartition]) -> list[TopicPartition]:
    assigned = client.assignment()
    return [place for topic, number in partitions if (place := TopicPartition(topic, number)) in assigned]


def _slice(place: TopicPartition, messages: Sequence[Any]) -> Slice:
    topic, partition = place.topic, place.partition
    records = [Record(topic, partition, m.offset, m.timestamp, m.key, m.value, tuple(m.headers)) for m in messages]
    return Slice(topic, partition, records)
