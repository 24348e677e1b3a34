"""State topics read from the beginning, by everyone for themselves: no group, no offsets, nothing kept.

For serving and the console. What can't be read is told and skipped: there is nothing to park it in, and a reader of state
goes by the next revision.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Final, Generic

from driftloop_bus.errors import TryAgain
from driftloop_bus.lag import Standing
from driftloop_bus.observer import Note, Observer, unobserved
from driftloop_bus.ports import Consumer, Log, Slice, TopicPartition
from driftloop_bus.routes import H, Route, plan
from driftloop_bus.work import Work, prepare
from driftloop_contracts import BY_NAME, Topic

MAX_RECORDS: Final = 2_000
POLL_WAIT_MS: Final = 500
END_DEADLINE_S: Final = 5.0


class Tail(Generic[H]):
    """Feeds one object with everything on its topics, then with what comes. `run` returns after `stop`."""

    def __init__(
        self,
        log: Log,
        topics: Sequence[Topic | str],
        routes: Sequence[Route[H]],
        handlers: H,
        *,
        observe: Observer = unobserved,
    ) -> None:
        """topics: those that routes by event class are looked up in. What methods return is not used."""
        named = [BY_NAME[topic] if isinstance(topic, str) else topic for topic in topics]
        self._plan = plan(routes, named)
        self._log, self._handlers, self._observe = log, handlers, observe
        self._consumer: Consumer | None = None
        self._goal: dict[TopicPartition, int] | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._heard_ms: dict[TopicPartition, int] = {}
        self._stopping = False
        self._caught_up = asyncio.Event()

    async def run(self) -> None:
        """Reads until `stop`, whatever the broker does meanwhile."""
        topics = self._plan.topics()
        self._consumer = await self._log.consumer(topics, None, _nobody, _nobody)
        try:
            while not self._stopping:
                for one in await self._consumer.poll(MAX_RECORDS, POLL_WAIT_MS if self.caught_up else 50):
                    await self._hear(one)
                await self._look(self._consumer, topics)
        finally:
            await self._consumer.close()

    def stop(self) -> None:
        """`run` returns after the slices that it is at."""
        self._stopping = True

    @property
    def caught_up(self) -> bool:
        """Whether everything was heard that was there when reading began. Once true it stays."""
        return self._caught_up.is_set()

    async def until_caught_up(self) -> None:
        """Returns when `caught_up` has become true."""
        await self._caught_up.wait()

    def positions(self) -> dict[str, dict[int, int]]:
        """The next offset of each partition: everything before it was heard."""
        found: dict[str, dict[int, int]] = {}
        for (topic, partition), offset in self._positions.items():
            found.setdefault(topic, {})[partition] = offset
        return found

    def standings(self) -> dict[TopicPartition, Standing]:
        """Where each partition of which something was heard stands: what its lag is reckoned from."""
        return {place: Standing(at, None, self._heard_ms.get(place)) for place, at in self._positions.items()}

    @property
    def waiting_for(self) -> str | None:
        """Why it does not hear, for people; None when it does."""
        if self._consumer is None:
            return "not started"
        return self._consumer.waiting_for or (None if self.caught_up else "reading from the beginning")

    async def _hear(self, one: Slice) -> None:
        started = time.monotonic()
        work = prepare(self._plan, one.records)
        for parked in work.bad:
            self._tell(one, parked.record.offset, parked.error)
        if work.batch is not None:
            await self._answer(one, work, range(len(work.records)))
        else:
            for place in range(len(work.records)):
                await self._answer(one, work, [place])
        self._positions[one.topic, one.partition] = one.end
        self._heard_ms[one.topic, one.partition] = one.records[-1].timestamp_ms
        seconds = time.monotonic() - started
        self._observe(Note("handled", one.topic, one.partition, one.end, len(one.records), seconds))

    async def _answer(self, one: Slice, work: Work[H], places: Sequence[int]) -> None:
        try:
            await work.answer(self._handlers, places)
        except Exception as error:  # noqa: BLE001  # one event that a reader can't take must not deafen it for all others
            self._tell(one, work.records[places[0]].offset, error)

    def _tell(self, one: Slice, offset: int, error: BaseException) -> None:
        self._observe(Note("skipped", one.topic, one.partition, offset, 1, reason=str(error), error=error))

    async def _look(self, consumer: Consumer, topics: Sequence[str]) -> None:
        """How far it is."""
        if self.caught_up or consumer.waiting_for:
            return
        try:
            if self._goal is None:
                self._goal = await asyncio.wait_for(self._log.end_offsets(topics), END_DEADLINE_S)
            found = await asyncio.wait_for(consumer.positions(), END_DEADLINE_S)
        except (TryAgain, TimeoutError) as error:
            self._observe(Note("waiting", reason=str(error), error=error))
            return
        if all(found.get(place, -1) >= end for place, end in self._goal.items()):
            self._positions.update(found)
            self._caught_up.set()


async def _nobody(partitions: Collection[TopicPartition]) -> None:
    return None
