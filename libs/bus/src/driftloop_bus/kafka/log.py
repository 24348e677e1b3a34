"""The log on a real broker: hands out producers and consumers, and closes what it handed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from driftloop_bus import ports
from driftloop_bus.kafka.connection import Connection
from driftloop_bus.kafka.consumer import KafkaConsumer
from driftloop_bus.kafka.ends import Ends
from driftloop_bus.kafka.producer import KafkaProducer
from driftloop_bus.kafka.quiet import quiet_down
from driftloop_bus.ports import Assigned


class KafkaLog:
    """Kafka at these bootstrap servers. Made without a connection; each producer and consumer finds its own way."""

    def __init__(
        self,
        bootstrap: str,
        client_id: str,
        *,
        instance: str | None = None,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        """instance: the name of this process in its groups, unique among those that run: it restarts without a rebalance,
        and takes its partitions back at once after a crash.

        security: aiokafka's settings of that kind, for every client.
        """
        quiet_down()
        self._common = {"bootstrap_servers": bootstrap, "client_id": client_id, **(security or {})}
        self._instance = instance
        self._open: list[KafkaProducer | KafkaConsumer] = []
        self._ends = Ends(self._common)

    async def producer(self, linger_ms: int = 0, *, compressed: bool = False) -> ports.Producer:
        """As `ports.Log`, compressed with zstd."""
        made = KafkaProducer(self._common, linger_ms, "zstd" if compressed else None)
        self._open.append(made)
        return made

    async def consumer(
        self, topics: Sequence[str], group: str | None, on_assigned: Assigned, on_revoked: Assigned
    ) -> ports.Consumer:
        """As `ports.Log`."""
        made = KafkaConsumer(Connection(self._common, self._instance, topics, group, on_assigned, on_revoked))
        self._open.append(made)
        return made

    async def end_offsets(self, topics: Sequence[str]) -> dict[ports.TopicPartition, int]:
        """As `ports.Log`."""
        return await self._ends.of(topics)

    async def close(self) -> None:
        """As `ports.Log`."""
        for one in reversed(self._open):
            await one.close()
        self._open.clear()
        await self._ends.close()
