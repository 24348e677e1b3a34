"""Hears what the retrainer says."""

from __future__ import annotations

import time
from collections.abc import Callable

from driftloop_bus.codec import decode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Consumer
from driftloop_bus.testing import nobody
from driftloop_contracts import AnyEvent


class Ear:
    """Hears one model's events on some topics, from the beginning."""

    def __init__(self, log: KafkaLog, model: str) -> None:
        self._log, self._model = log, model
        self._consumer: Consumer | None = None
        self.heard: list[AnyEvent] = []

    async def until(self, enough: Callable[[list[AnyEvent]], bool], topics: list[str], within_s: float = 60) -> None:
        """Enough was heard. Raises TimeoutError with what was heard instead."""
        self._consumer = self._consumer or await self._log.consumer(topics, None, nobody, nobody)
        deadline = time.monotonic() + within_s
        while not enough(self.heard):
            if time.monotonic() > deadline:
                raise TimeoutError(f"heard {[type(event.data).__name__ for event in self.heard]}")
            for piece in await self._consumer.poll(1_000, 100):
                self.heard += [
                    decode(record) for record in piece.records if (record.key or b"") == self._model.encode()
                ]

    def of(self, kind: type) -> list[AnyEvent]:
        """The events of this kind, each once by its id."""
        return list({event.id: event for event in self.heard if isinstance(event.data, kind)}.values())

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()
