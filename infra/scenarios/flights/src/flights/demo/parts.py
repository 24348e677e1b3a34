"""What the replayer asks the running parts: positions and loaded versions, from `/ready` alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp

from driftloop.addresses import address_of
from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka import KafkaLog

# A barrier is met hundreds of times: looking costs a request, waiting longer than needed costs the replay.
LOOK_EVERY_S: Final = 0.005
LOOK_AT_MOST_EVERY_S: Final = 0.1
ANSWER_WITHIN_S: Final = 5.0
STUCK_AFTER_S: Final = 120.0


class Stuck(Exception):  # what the replayer sees
    """A part did not get where it had to within two minutes."""


class Parts:
    """The running parts, by name."""

    def __init__(self, session: aiohttp.ClientSession, log: KafkaLog) -> None:
        self._session = session
        self._log = log

    async def ready(self, name: str) -> dict[str, Any]:
        """What the part says of itself; empty while it does not answer."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S), self._session.get(f"{address_of(name)}/ready") as answer:
                return dict(await answer.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """The log's ends."""
        while True:
            try:
                return await self._log.end_offsets(topics)
            except TryAgain:
                await asyncio.sleep(LOOK_AT_MOST_EVERY_S)

    async def until(self, name: str, so: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """What the part says once it is so. Raises Stuck after two minutes."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + STUCK_AFTER_S, LOOK_EVERY_S
        said: dict[str, Any] = {}
        while loop.time() < deadline:
            said = await self.ready(name)
            if said.get("ready") and so(said):
                return said
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LOOK_AT_MOST_EVERY_S)
        raise Stuck(f"{name} had not {what} after {STUCK_AFTER_S:g} s; it says {said or 'nothing'}")

    async def until_covered(self, name: str, topics: Sequence[str], field: str = "positions") -> None:
        """The part has handled everything that is in these topics now, and published what followed."""
        ends = await self.ends(topics)
        await self.until(
            name, lambda said: covers(said.get(field, {}), ends) and not said.get("outbox_pending"), f"read {topics}"
        )


def covers(positions: Mapping[str, Mapping[str, int]], ends: Mapping[tuple[str, int], int]) -> bool:
    """Whether every partition is read to its end."""
    return all(
        end == 0 or positions.get(topic, {}).get(str(partition), 0) >= end for (topic, partition), end in ends.items()
    )
