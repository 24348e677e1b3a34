"""Where partitions end, for those who hear none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer

from driftloop_bus import ports
from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka.administration import partition_counts
from driftloop_bus.kafka.deadlines import ended, in_time, started
from driftloop_bus.kafka.places import end_offsets, every_place


class Ends:
    """Asks where partitions end, over one connection that is kept: a barrier asks hundreds of times."""

    def __init__(self, common: Mapping[str, Any]) -> None:
        self._common = common
        self._client: AIOKafkaConsumer | None = None
        self._counts: dict[str, int] = {}
        self._asking = asyncio.Lock()

    async def of(self, topics: Sequence[str]) -> dict[ports.TopicPartition, int]:
        """The offset after the last record of each partition. Raises TryAgain; the next call connects anew."""
        async with self._asking:
            try:
                client = await self._connected(topics)
                await in_time(_known(client, topics))
                return await end_offsets(client, every_place({topic: self._counts[topic] for topic in topics}))
            except TryAgain:
                await self.close()
                raise

    async def close(self) -> None:
        """Nothing is connected."""
        self._counts.clear()
        if self._client is not None:
            client, self._client = self._client, None
            await ended(client)

    async def _connected(self, topics: Sequence[str]) -> AIOKafkaConsumer:
        if missing := [topic for topic in topics if topic not in self._counts]:
            self._counts |= await partition_counts(self._common, missing)
        if self._client is None:
            client = AIOKafkaConsumer(**self._common, isolation_level="read_committed")
            async with started(client):
                self._client = client
        return self._client


async def _known(client: AIOKafkaConsumer, topics: Sequence[str]) -> None:
    """The client knows the leaders of all their partitions. Left to itself it asks for one topic after the other, a tenth of a
    second each: of fifty none would be answered in time."""
    network = client._client
    await network.set_topics({*network._topics, *topics})
