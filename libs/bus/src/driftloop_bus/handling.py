"""One slice inside one transaction: inbox, handlers, outbox, dead letters.

First everything at once. When that fails, the transaction is rolled back and the next one narrows: halves under savepoints,
in order, down to the record that is to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic

from driftloop_bus.codec import encode
from driftloop_bus.errors import BadMessage, Fenced, Flood, TryAgain
from driftloop_bus.failpoints import failpoint
from driftloop_bus.flood import Gauge
from driftloop_bus.parking import Parked
from driftloop_bus.ports import Outgoing, Record, Slice, Transaction
from driftloop_bus.routes import Follows, H, is_compacted
from driftloop_bus.work import Work

# A bug that depends on the moment (a race, a cache) passes at the second attempt; one that does not is parked at the third.
MAX_TRIES: Final = 3


class Cut(Exception):
    """The partition flooded after so many records of the slice: handle those, then stop."""

    def __init__(self, records: int) -> None:
        super().__init__(records)
        self.records = records


@dataclass(frozen=True, slots=True)
class Handling(Generic[H]):
    """How one service handles slices."""

    service: str
    group: str
    version: str
    handlers: Callable[[Transaction], H]

    async def at_once(self, tx: Transaction, work: Work[H]) -> int:
        """Every record of the slice has its effects, every bad one is parked. Returns how many records will be published."""
        letters = await self._park(tx, work.bad)
        return letters + await self._effects(tx, work, range(len(work.records)))

    async def narrowed(self, tx: Transaction, whole: Slice, work: Work[H], tries: int, gauge: Gauge) -> list[Parked]:
        """As `at_once`, but what fails is parked by itself; returns what was.

        A record that raises something unforeseen is parked at its third attempt; before, its error goes on up. Raises Cut
        where the slice floods its partition.
        """
        narrow = _Narrow(self, tx, whole, work, tries, gauge, list(work.bad))
        await narrow.over(range(len(work.records)))
        await self._park(tx, narrow.parked)
        return narrow.parked

    async def publish(self, tx: Transaction, follows: Follows) -> int:
        """What follows is in the outbox; how many."""
        records = [one if isinstance(one, Outgoing) else encode(one, self.service) for one in follows]
        if records:
            await tx.publish(records)
        return len(records)

    async def _effects(self, tx: Transaction, work: Work[H], places: Sequence[int]) -> int:
        new = await self._new(tx, work, places)
        failpoint("runner.after_inbox")
        if not new:
            return 0
        return await self.publish(tx, await work.answer(self.handlers(tx), new))

    async def _new(self, tx: Transaction, work: Work[H], places: Sequence[int]) -> list[int]:
        if not places or is_compacted(work.records[0].topic):
            return list(places)
        unseen = await tx.unseen([work.ids[place] for place in places])
        return [place for place, new in zip(places, unseen, strict=True) if new]

    async def _park(self, tx: Transaction, parked: Sequence[Parked]) -> int:
        return await self.publish(tx, [one.letter(self.group, self.version) for one in parked])


@dataclass(slots=True)
class _Narrow(Generic[H]):
    handling: Handling[H]
    tx: Transaction
    whole: Slice
    work: Work[H]
    tries: int
    gauge: Gauge
    parked: list[Parked]

    async def over(self, places: Sequence[int]) -> None:
        """The records at these places are handled or parked, in order."""
        try:
            async with self.tx.savepoint():
                await self.handling._effects(self.tx, self.work, places)  # the other half of one class
        except (TryAgain, Fenced):
            raise
        except Exception as error:  # noqa: BLE001  # a bug is narrowed to its record
            await self._halve(places, error)

    async def _halve(self, places: Sequence[int], error: Exception) -> None:
        if len(places) > 1:
            middle = len(places) // 2
            await self.over(places[:middle])
            await self.over(places[middle:])
        elif isinstance(error, BadMessage) or self.tries >= MAX_TRIES:
            self._park(self.work.records[places[0]], error)
        else:
            raise error

    def _park(self, record: Record, error: Exception) -> None:
        self.parked.append(Parked(record, error, self.tries))
        so_far = [one for one in self.whole.records if one.offset <= record.offset]
        _, cut = self.gauge.after(so_far, {one.record.offset for one in self.parked})
        if cut is not None and cut < len(self.whole.records):
            raise Cut(cut)


def flood_in(where: Slice, gauge: Gauge) -> Flood:
    """The alarm, in words."""
    return Flood(
        f"{where.topic}/{where.partition}: {len(gauge.parked)} of the last records were parked, {gauge.in_a_row} in a row; "
        "paused until somebody resumes it or the service is started anew"
    )
