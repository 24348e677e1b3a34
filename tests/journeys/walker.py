"""Walks a model round the circle: real Kafka, real Postgres, every service a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
from world import START, Toy, document, view

from driftloop.cli.doors import command
from driftloop.producer import AsyncProducer
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing
from driftloop_bus.tail import Tail
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from driftloop_local.stack import LocalStack
from flights.demo import records
from flights.demo.chronicle import TOPICS, Chronicle
from flights.demo.parts import Parts
from flights.demo.replayer import Replayer
from flights.stream import Slice

# The back-test's 28 windows, and some days before them to learn from.
HISTORY_DAYS = 34


@dataclass
class Walker:
    """One model's walk."""

    stack: LocalStack
    toy: Toy
    chronicle: Chronicle
    parts: Parts
    replayer: Replayer
    producer: AsyncProducer
    tail: Tail[Chronicle]
    told: list[str] = field(default_factory=list)
    day: int = HISTORY_DAYS

    @property
    def model(self) -> str:
        return self.toy.model

    async def declare(self, **changes: Any) -> None:
        """The view and the model are declared."""
        await self.command("apply", f"view/{self.model}-air", document=view(self.model))
        await self.command("apply", self.model, document=document(self.model, **changes))

    async def command(self, kind: str, model: str | None = None, **more: Any) -> dict[str, Any]:
        """The command's answer."""
        return await asyncio.to_thread(
            command, {"command": kind, "model": model or self.model, "given_by": "journeys", **more}
        )

    async def remember(self, twice: bool = False) -> None:
        """The history is loaded, by everyone."""
        past = self.toy.history(HISTORY_DAYS)
        packed: list[Outgoing] = [
            *records.predictions(past.predictions, model=self.model),
            *records.outcomes(past.outcomes, model=self.model),
            *records.observations(f"{self.model}-air", past.weather),
        ]
        for _ in range(2 if twice else 1):
            await self.producer.send_records(packed)
        await self.parts.until_covered("feature_store", [PREDICTIONS.name, OUTCOMES.name, OBSERVATIONS.name], "history")
        await self.parts.until_covered("feature_store", [OBSERVATIONS.name])
        await self.parts.until_covered("monitor", [PREDICTIONS.name, OUTCOMES.name])

    async def first(self) -> None:
        """The first champion, trained on the history, serves."""
        moment = (START + timedelta(days=HISTORY_DAYS)).isoformat()
        await self.command("retrain", until=moment, effective=moment, reason="the first champion")
        await self.replayer.settle()

    async def live(self, days: int, slope: float, sent: Callable[[Slice], Slice] = lambda piece: piece) -> None:
        """So many days are lived, each to its end."""
        for _ in range(days):
            piece = sent(self.toy.day(self.day, slope))
            await self.producer.send_records(list(records.observations(f"{self.model}-air", piece.weather)))
            await self.parts.until_covered("feature_store", [OBSERVATIONS.name])
            await self.replayer.send(Slice(piece.start, piece.weather.slice(0, 0), piece.predictions, piece.outcomes))
            await self.replayer.settle()
            self.day += 1


@asynccontextmanager
async def walker(stack: LocalStack, model: str) -> AsyncIterator[Walker]:
    """A model that nobody has declared yet, and everything to walk it round."""
    told: list[str] = []
    chronicle = Chronicle(model, tell=told.append)
    log = KafkaLog(stack.kafka, client_id=f"journey-{model}")
    tail: Tail[Chronicle] = Tail(log, TOPICS, chronicle.routes(), chronicle)
    hearing = asyncio.create_task(tail.run())
    try:
        async with aiohttp.ClientSession() as session, AsyncProducer("journeys", stack.kafka) as producer:
            parts = Parts(session, log)
            replayer = Replayer(session, producer, parts, chronicle, tail, free_running=False)
            yield Walker(stack, Toy(model), chronicle, parts, replayer, producer, tail, told)
    finally:
        tail.stop()
        await hearing
        await log.close()
