"""Finds the client that is alive and hears nothing: no error is raised, the broker is well, and its records don't come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from driftloop_bus import ports
from driftloop_bus.kafka.ends import Ends
from driftloop_bus.kafka.places import plain

# Looks in a row that find records and no movement, at one each 5 s: 30 s. Looks are counted, not seconds: who polls seldom
# because its handlers are slow is not deaf.
LOOKS: Final = 6
NOWHERE: Final = -1
POSITION_WITHIN_S: Final = 1.0


class Watchdog:
    """Watches one consumer, over a connection of its own: what the broker says must not come through who is in doubt."""

    def __init__(self, common: Mapping[str, Any], topics: Sequence[str]) -> None:
        self._topics = topics
        self._ends = Ends(common)
        self._seen: dict[ports.TopicPartition, int] = {}
        self._still: dict[ports.TopicPartition, int] = {}

    async def look(self, client: AIOKafkaConsumer) -> str | None:
        """Why this client must be made anew; None while it may be well. Raises TryAgain while the broker does not say.

        Called after polls, never twice at a time.
        """
        ends = await self._ends.of(self._topics)
        listening = sorted(client.assignment() - client.paused() - fetched(client))
        found = await asyncio.gather(*(position(client, place) for place in listening))
        return self.count({plain(place): at for place, at in zip(listening, found, strict=True)}, ends)

    def count(
        self, positions: Mapping[ports.TopicPartition, int | None], ends: Mapping[ports.TopicPartition, int]
    ) -> str | None:
        """One more look: where the client stands in what it listens to, and where the log ends."""
        before, self._seen = self._seen, {place: NOWHERE if at is None else at for place, at in positions.items()}
        self._still = {
            place: self._still.get(place, 0) + 1 if before.get(place) == at else 0
            for place, at in self._seen.items()
            if max(at, 0) < ends.get(place, 0)
        }
        deaf = [place for place, looks in self._still.items() if looks >= LOOKS]
        return f"{deaf[0][0]}/{deaf[0][1]} stands still at {self._seen[deaf[0]]} of {ends[deaf[0]]}" if deaf else None

    def forget(self) -> None:
        """What was seen says nothing about what comes: the broker was away, or the client is another."""
        self._seen.clear()
        self._still.clear()

    async def close(self) -> None:
        """Nothing is connected."""
        await self._ends.close()


def fetched(client: AIOKafkaConsumer) -> set[TopicPartition]:
    """Partitions of which it holds records: it has heard them, and whoever polls has not come to them yet.

    A poll takes what was fetched first, up to its most. A reader with a backlog in many partitions comes to the last of them
    late, and stands still there meanwhile.
    """
    return set(client._fetcher._records) if client._fetcher is not None else set()


def dead_part(client: AIOKafkaConsumer) -> str | None:
    """Which of the client's own tasks has ended, though nobody stopped it; None while all run."""
    parts = {"fetcher": client._fetcher and client._fetcher._fetch_task}
    if hasattr(client._coordinator, "_coordination_task"):
        parts["coordinator"] = client._coordinator._coordination_task
    return next((f"its {name} has ended" for name, task in parts.items() if task is not None and task.done()), None)


async def position(client: AIOKafkaConsumer, place: TopicPartition) -> int | None:
    """Where the next poll goes on; None while that is not known, or not ours any more."""
    try:
        return int(await asyncio.wait_for(client.position(place), POSITION_WITHIN_S))
    except (TimeoutError, KafkaError):
        return None
