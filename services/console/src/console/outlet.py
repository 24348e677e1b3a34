"""Commands go out by the SDK: there is no database here, so there is no outbox; 202 follows the log's ack."""

from __future__ import annotations

import asyncio
from typing import Final

from driftloop.producer import AsyncProducer
from driftloop_bus.codec import encode
from driftloop_bus.errors import TryAgain
from driftloop_contracts import AnyEvent

WITHIN_S: Final = 5.0


class KafkaOutlet:
    """`ports.Outlet` on a real log."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._producer: AsyncProducer | None = None

    async def stay_open(self) -> None:
        """Commands can go out until this is cancelled."""
        async with AsyncProducer("console", self._kafka) as self._producer:
            try:
                await asyncio.Event().wait()
            finally:
                self._producer = None

    async def publish(self, event: AnyEvent) -> None:
        """As the port."""
        if self._producer is None:
            raise TryAgain("the console is starting or stopping: give the command again, with the same id")
        try:
            async with asyncio.timeout(WITHIN_S):
                await self._producer.send_records([encode(event, "console")])
        except TimeoutError as late:
            raise TryAgain(
                f"Kafka did not take the command within {WITHIN_S:g} s: give it again, with the same id"
            ) from late
