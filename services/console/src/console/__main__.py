"""The console on one screen."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter

from console.api import router
from console.board import Board
from console.handlers import Console
from console.settings import Settings
from driftloop.producer import AsyncProducer
from driftloop_bus.codec import encode
from driftloop_bus.errors import TryAgain
from driftloop_bus.routes import on_every, reads
from driftloop_contracts import AnyEvent
from driftloop_kit.entry import main
from driftloop_kit.service import Context, Service

PUBLISH_WITHIN_S: Final = 5.0


class KafkaOutlet:
    """Commands go out by the SDK: there is no database here, so there is no outbox; 202 follows the log's ack."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._producer: AsyncProducer | None = None
        self._opening = asyncio.Lock()

    async def publish(self, event: AnyEvent) -> None:
        """As the port."""
        try:
            async with asyncio.timeout(PUBLISH_WITHIN_S):
                producer = await self._open()
                await producer.send_records([encode(event, "console")])
        except TimeoutError as late:
            raise TryAgain("Kafka did not take the command in time; give it again with the same id") from late

    async def _open(self) -> AsyncProducer:
        async with self._opening:
            if self._producer is None:
                self._producer = await AsyncProducer("console", self._kafka).__aenter__()
            return self._producer


def build(settings: Settings) -> Service[Console]:
    """The service, ready to run."""
    board = Board()
    outlet = KafkaOutlet(settings.kafka)

    def api(context: Context[Console]) -> APIRouter:
        context.health.fact("models", lambda: sorted(board.models))
        return router(board, outlet)

    return Service(
        "console",
        settings,
        api=api,
        tail=([on_every(topic, Console.on_event) for topic in reads("console")], Console(board)),
    )


if __name__ == "__main__":
    main("console", build, Settings)
