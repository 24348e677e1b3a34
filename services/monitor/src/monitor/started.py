"""Data waits until what was declared before the start has been read: else rows of a known model would be kept out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Log, TopicPartition
from driftloop_contracts.topics import DECLARATIONS, DEPLOYMENTS

STATE_TOPICS: Final = (DECLARATIONS.name, DEPLOYMENTS.name)
RETRY_S: Final = 0.5


class Started:
    """Knows where the state topics ended when this process started; a `ports.Ready`."""

    def __init__(self) -> None:
        self._ends: dict[TopicPartition, int] | None = None
        self._reached = False

    async def look(self, log: Log) -> None:
        """The ends are known. Asks as long as it takes: without Kafka there is no data either."""
        while self._ends is None:
            try:
                self._ends = await log.end_offsets(STATE_TOPICS)
            except TryAgain:
                await asyncio.sleep(RETRY_S)

    def declared(self, positions: Mapping[TopicPartition, int]) -> bool:
        """See `ports.Ready`."""
        if not self._reached and self._ends is not None:
            self._reached = all(positions.get(place, 0) >= end for place, end in self._ends.items())
        return self._reached
