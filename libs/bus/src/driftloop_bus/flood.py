"""When parking must stop: a broken deploy would park everything and hide it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from driftloop_bus.ports import Record

# Beyond this a deploy is broken, not a record.
MAX_PARKED_IN_A_ROW: Final = 20
WINDOW: Final = 1_000
MAX_PARKED_IN_WINDOW: Final = 10  # one per cent


@dataclass(frozen=True, slots=True)
class Gauge:
    """What a partition's last records were like."""

    seen: int = 0
    parked: tuple[int, ...] = ()
    """Numbers of the parked ones among the last 1,000."""
    in_a_row: int = 0

    def told(self, bad: bool) -> Gauge:
        """The gauge after one more record."""
        seen = self.seen + 1
        parked = (*self.parked, seen) if bad else self.parked
        if parked and parked[0] <= seen - WINDOW:
            parked = parked[1:]
        return Gauge(seen, parked, self.in_a_row + 1 if bad else 0)

    def after(self, records: Sequence[Record], bad: Collection[int]) -> tuple[Gauge, int | None]:
        """The gauge after these records, of which those at the offsets `bad` are parked, and how many it took to flood.

        Where it floods it stops: later records are not counted. None while it does not.
        """
        gauge = self
        for place, record in enumerate(records):
            gauge = gauge.told(record.offset in bad)
            if gauge.flooded:
                return gauge, place + 1
        return gauge, None

    @property
    def flooded(self) -> bool:
        """More than one per cent of 1,000, or 20 in a row."""
        often = self.seen >= WINDOW and len(self.parked) > MAX_PARKED_IN_WINDOW
        return often or self.in_a_row >= MAX_PARKED_IN_A_ROW
