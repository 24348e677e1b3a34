"""Which partitions are ours: from the word of the group to a claim in the ledger, and back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection
from typing import Final, Generic

from driftloop_bus.backoff import Backoff
from driftloop_bus.errors import Fenced, TryAgain
from driftloop_bus.observer import Note, Observer
from driftloop_bus.partition import Partition
from driftloop_bus.ports import Claim, Ledger, TopicPartition
from driftloop_bus.routes import H

# A partition that is not released in time only makes its next owner more careful.
RELEASE_DEADLINE_S: Final = 1.0


class Assignment(Generic[H]):
    """The partitions of one member of a group."""

    def __init__(self, ledger: Ledger, observe: Observer, rejoin_after_s: float, chance: random.Random) -> None:
        """rejoin_after_s: how long a partition that another has claimed is not claimed back, should it still be ours then."""
        self._ledger, self._observe = ledger, observe
        self._rejoin_after_s, self._chance = rejoin_after_s, chance
        self._parts: dict[TopicPartition, Partition[H]] = {}
        self._not_before: dict[TopicPartition, float] = {}

    def all(self) -> list[Partition[H]]:
        """Every one that is ours now."""
        return list(self._parts.values())

    def get(self, topic: str, partition: int) -> Partition[H] | None:
        """This one, if it is ours."""
        return self._parts.get((topic, partition))

    def holds(self, part: Partition[H]) -> bool:
        """Whether it is still ours, and was not lost and given anew meanwhile."""
        return self._parts.get(part.place) is part

    def unclaimed(self) -> list[Partition[H]]:
        """Ours by the group's word alone, and due to be claimed."""
        now = time.monotonic()
        return [one for one in self.all() if one.claim is None and one.retry_at <= now and not one.stopped]

    async def assigned(self, places: Collection[TopicPartition]) -> None:
        """The group gives them to us."""
        for place in places:
            part = self._parts[place] = Partition(*place, Backoff(chance=self._chance))
            if (until := self._not_before.get(place, 0.0)) > time.monotonic():
                part.drop(f"{part} was claimed by another while it was ours", until)

    async def revoked(self, places: Collection[TopicPartition]) -> None:
        """The group takes them. What is being handled goes on: if a successor claims first, the commit is fenced."""
        await self.release([self._parts.pop(place) for place in places if place in self._parts])

    def fenced(self, part: Partition[H], reason: str) -> None:
        """Another has claimed it. A woken zombie that claims at once would evict the rightful owner."""
        self._not_before[part.place] = until = time.monotonic() + self._rejoin_after_s
        part.drop(reason, until)

    def forget(self) -> None:
        """Nothing is ours, and nobody is told: who dies lets go of nothing, its successor is to know that it was here."""
        self._parts.clear()

    async def release(self, parts: Collection[Partition[H]]) -> None:
        """Whoever comes next need not be careful. Who finds another's claim instead was asleep, and holds back for a while."""
        try:
            async with asyncio.timeout(RELEASE_DEADLINE_S):
                for part in parts:
                    if part.claim is not None:
                        await self._let_go(part, part.claim)
        except (TryAgain, TimeoutError) as error:
            self._observe(Note("waiting", reason=f"not released: {error}", error=error))

    async def _let_go(self, part: Partition[H], claim: Claim) -> None:
        try:
            await self._ledger.current(claim)
        except Fenced:
            self._not_before[part.place] = time.monotonic() + self._rejoin_after_s
            return
        await self._ledger.release(claim)
