"""What goes out: every record acked by all replicas, or TryAgain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka.deadlines import REQUEST_MS, SEND_DEADLINE_S, ended, said, started
from driftloop_bus.ports import Ack, Outgoing

# Idempotent sequence numbers wrap wrongly at 2^31 - 1; no producer lives long enough to get there.
PRODUCER_LIFE_S: Final = 7 * 86_400.0
# A dead letter is a record of up to the broker's 1 MiB with some more headers.
MAX_REQUEST_BYTES: Final = 2 * 1024 * 1024
# One batch of a partition is on its way at a time: at aiokafka's 16 KiB, thirteen events of a kilobyte a round trip, and on a
# busy machine less than came in. Far below the broker's 1 MiB, which counts before compression.
MAX_BATCH_BYTES: Final = 256 * 1024
TOPIC_DEADLINE_S: Final = 2.0


class KafkaProducer:
    """As `ports.Producer`. The client behind it is made at the first send, and anew when it fails or is old."""

    def __init__(self, common: Mapping[str, Any], linger_ms: int, compression: str | None) -> None:
        self._settings = {
            **common,
            "acks": "all",
            "enable_idempotence": True,
            "request_timeout_ms": REQUEST_MS,
            "linger_ms": linger_ms,
            "max_batch_size": MAX_BATCH_BYTES,
            "max_request_size": MAX_REQUEST_BYTES,
            "compression_type": compression,
        }
        self._client: AIOKafkaProducer | None = None
        self._made_at = 0.0
        self._timeouts = 0
        self._known: set[str] = set()
        self._starting = asyncio.Lock()

    async def send(self, records: Sequence[Outgoing]) -> list[Ack]:
        """As `ports.Producer`."""
        client = await self._ready()
        await self._check_topics(client, {record.topic for record in records})
        try:
            acks = await asyncio.wait_for(_sent(client, records), SEND_DEADLINE_S)
        except TimeoutError as error:
            await self._timed_out(client)
            raise TryAgain(f"no ack within {SEND_DEADLINE_S:g} s: it may have been written or not") from error
        except KafkaError as error:
            # After some errors a producer stays broken for good; a new one costs a round trip.
            await self._replace(client)
            raise TryAgain(f"the broker refused: {said(error)}") from error
        self._timeouts = 0
        return acks

    async def close(self) -> None:
        """As `ports.Producer`."""
        if self._client is not None:
            await self._replace(self._client)

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._client is not None and (self._is_old() or _is_dead(self._client)):
                await self._replace(self._client)
            if self._client is None:
                client = AIOKafkaProducer(**self._settings)
                async with started(client):
                    self._client, self._made_at = client, time.monotonic()
            return self._client

    def _is_old(self) -> bool:
        return time.monotonic() - self._made_at > PRODUCER_LIFE_S

    async def _check_topics(self, client: AIOKafkaProducer, topics: set[str]) -> None:
        """aiokafka would look for a missing topic for 30 s, and hold up everything behind it."""
        for topic in sorted(topics - self._known):
            try:
                await asyncio.wait_for(client.partitions_for(topic), TOPIC_DEADLINE_S)
            except (TimeoutError, KafkaError) as error:
                raise TryAgain(f"topic {topic} is missing, or the broker is away") from error
            self._known.add(topic)

    async def _timed_out(self, client: AIOKafkaProducer) -> None:
        # The first time the broker is just away, and its batches go out when it is back; twice, the client may be stuck.
        self._timeouts += 1
        if self._timeouts > 1:
            await self._replace(client)

    async def _replace(self, client: AIOKafkaProducer) -> None:
        if self._client is client:
            self._client, self._timeouts = None, 0
            self._known.clear()
            await ended(client)


def _is_dead(client: AIOKafkaProducer) -> bool:
    """Whether nothing that it is given goes out any more, and nobody would hear why."""
    sending = client._sender.sender_task
    return sending is None or bool(sending.done())


async def _sent(client: AIOKafkaProducer, records: Sequence[Outgoing]) -> list[Ack]:
    waiting = [
        await client.send(one.topic, one.value, one.key, one.partition, headers=list(one.headers)) for one in records
    ]
    # All of them are awaited also when one fails, or its neighbours' errors would be nobody's.
    found = await asyncio.gather(*waiting, return_exceptions=True)
    acks: list[Ack] = []
    for one in found:
        if isinstance(one, BaseException):
            raise one
        acks.append((one.partition, one.offset))
    return acks
