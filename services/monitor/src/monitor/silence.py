"""A topic that has fallen silent, told from one that was not read yet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Log, TopicPartition

LOOK_EACH_S: Final = 1.0


class Ends:
    """Looks up where partitions end, for models under suspicion; a `ports.Silence`."""

    def __init__(self) -> None:
        self._places: dict[str, Sequence[TopicPartition]] = {}
        self._ends: dict[str, dict[TopicPartition, int]] = {}
        self._newest: dict[str, int] = {}

    def suspect(self, model: str, places: Sequence[TopicPartition], newest_us: int) -> None:
        """See `ports.Silence`."""
        if model not in self._places:
            self._places[model], self._newest[model] = places, newest_us

    def suspects(self) -> list[str]:
        """See `ports.Silence`."""
        return sorted(self._places)

    def acquit(self, model: str) -> None:
        """See `ports.Silence`."""
        self._places.pop(model, None)
        self._ends.pop(model, None)
        self._newest.pop(model, None)

    def proven(self, model: str, positions: Mapping[TopicPartition, int]) -> int | None:
        """See `ports.Silence`."""
        ends = self._ends.get(model)
        if ends is None or any(positions.get(place, 0) < end for place, end in ends.items()):
            return None
        newest_us = self._newest[model]
        self.acquit(model)
        return newest_us

    async def watch(self, log: Log) -> None:
        """Looks for as long as the process lives; while Kafka is away nothing is proven."""
        while True:
            unknown = [model for model in self._places if model not in self._ends]
            if unknown:
                await self._look(log, unknown)
            await asyncio.sleep(LOOK_EACH_S)

    async def _look(self, log: Log, models: Sequence[str]) -> None:
        topics = sorted({topic for model in models for topic, _ in self._places[model]})
        try:
            ends = await log.end_offsets(topics)
        except TryAgain:
            return
        for model in models:
            self._ends[model] = {place: ends[place] for place in self._places.get(model, ()) if place in ends}
