"""A slice, decoded: what its records say, which of them are bad, and who answers. No transaction is open yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Generic

import numpy as np

from driftloop_bus.batches import AnyBatch
from driftloop_bus.codec import decode
from driftloop_bus.parking import Parked
from driftloop_bus.ports import Record
from driftloop_bus.reading import read
from driftloop_bus.routes import Answer, Follows, H, Plan, Route, is_compacted
from driftloop_contracts import AnyEvent


@dataclass(slots=True)
class Work(Generic[H]):
    """What a slice asks for: good records with their ids, in order, and the bad ones."""

    plan: Plan[H]
    records: list[Record] = field(default_factory=list)
    """The good ones that somebody hears."""
    ids: list[str] = field(default_factory=list)
    bad: list[Parked] = field(default_factory=list)
    skipped: int = 0
    events: list[AnyEvent] = field(default_factory=list)
    """Aligned with the records, on a topic that is heard event by event."""
    batch: AnyBatch | None = None

    async def answer(self, handlers: H, places: Sequence[int]) -> list[Any]:
        """What follows from the records at these places, in order."""
        if self.batch is not None:
            return await self._batch_answer(handlers, self.batch, places)
        follows: list[Any] = []
        for place in places:
            for route in heard(self.plan, self.records[place].topic, self.events[place]):
                follows.extend(await told(route.method(handlers, self.events[place])))
        return follows

    async def _batch_answer(self, handlers: H, batch: AnyBatch, places: Sequence[int]) -> list[Any]:
        if len(places) < len(self.records):
            batch = batch.take(np.isin(batch.offsets, [self.records[place].offset for place in places]))
        return list(await told(self.plan.batches[batch.topic](handlers, batch)))


async def told(answer: Answer) -> Follows:
    """What the method returned, awaited where it is a coroutine's."""
    found = await answer if isawaitable(answer) else answer
    return found or ()


def heard(plan: Plan[H], topic: str, event: AnyEvent) -> list[Route[H]]:
    """The routes that hear this event."""
    return [route for route in plan.events[topic] if route.fact in (None, type(event.data))]


def prepare(plan: Plan[H], records: Sequence[Record]) -> Work[H]:
    """The records of one partition, decoded. Tombstones and types that nobody hears are skipped."""
    work = Work(plan)
    if records[0].topic in plan.batches:
        _read_batch(work, records)
    else:
        for record in records:
            _read_event(work, record)
    return work


def _read_batch(work: Work[H], records: Sequence[Record]) -> None:
    try:
        found = read(records)
    except Exception:  # noqa: BLE001  # a bug in the reading: the records that enter it are parked, one by one
        records = _readable(work, records)
        if not records:
            return
        found = read(records)
    at = {error.at.offset: error for error in found.bad if error.at is not None}
    work.batch = found.batch
    work.bad += [Parked(record, at[record.offset]) for record in records if record.offset in at]
    work.records = [record for record in records if record.offset not in at]
    work.ids = [found.ids[record.offset] for record in work.records]


def _readable(work: Work[H], records: Sequence[Record]) -> list[Record]:
    kept = []
    for record in records:
        try:
            read([record])
        except Exception as error:  # noqa: BLE001  # as above
            work.bad.append(Parked(record, error))
        else:
            kept.append(record)
    return kept


def _read_event(work: Work[H], record: Record) -> None:
    if record.value is None and is_compacted(record.topic):
        work.skipped += 1
        return
    try:
        event = decode(record)
    except Exception as error:  # noqa: BLE001  # BadMessage, or a bug in the decoding: it stops no partition either
        work.bad.append(Parked(record, error))
        return
    if not heard(work.plan, record.topic, event):
        work.skipped += 1
        return
    work.records.append(record)
    work.ids.append(event.id)
    work.events.append(event)
