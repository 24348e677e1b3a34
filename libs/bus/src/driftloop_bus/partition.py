"""What the runner knows of one partition that is assigned to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic

from driftloop_bus.backoff import Backoff
from driftloop_bus.flood import Gauge
from driftloop_bus.lag import Standing
from driftloop_bus.parking import Parked
from driftloop_bus.ports import Claim, Record, Slice, TopicPartition
from driftloop_bus.routes import H
from driftloop_bus.work import Work

# An attempt that ends in vain after this was broken off by a deadline: the database is there, and slower than the slice is
# large. The same slice would never get through.
TOO_LONG_S: Final = 5.0
QUICK_S: Final = 2.0


@dataclass(slots=True, eq=False)
class Partition(Generic[H]):
    """A partition with its claim, the slice that it is at, and what stands in the way."""

    topic: str
    number: int
    backoff: Backoff
    claim: Claim | None = None
    slice: Slice | None = None
    work: Work[H] | None = None
    failures: int = 0
    """How often the slice failed by what it holds; TryAgain is no failure."""
    unsure: bool = False
    """Whether the last commit may have happened although it said TryAgain."""
    paused: bool = False
    """Whether polls return nothing of it; it goes on with a seek."""
    retry_at: float = 0.0
    reason: str = ""
    """Why it waits; it goes on by itself."""
    stopped: str = ""
    """Why it stands still until a person comes."""
    gauge: Gauge = field(default_factory=Gauge)
    parked: Sequence[Parked] = ()
    published: int = 0
    careful: bool = False
    """Whether records are taken one by one, each begun on record: owners before us died here."""
    rest: Sequence[Record] = ()
    """What was read with the slice and comes after it, while records are taken one by one."""
    most: int | None = None
    """How many records a slice may have, where more of them did not get through in their time."""
    hint: int | None = None
    """The next offset, where the broker was not told of it yet."""
    handled_ms: int | None = None
    """When the last record that is handled was appended."""

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"

    @property
    def place(self) -> TopicPartition:
        """Topic and number."""
        return self.topic, self.number

    def is_due(self, now: float) -> bool:
        """Whether its slice can be handled now."""
        return self.slice is not None and self.claim is not None and not self.stopped and self.retry_at <= now

    def length(self) -> int:
        """How many records its slice has."""
        return len(self.slice.records) if self.slice else 0

    def standing(self, next_offset: int) -> Standing:
        """Where it stands, its claim being there."""
        oldest_ms = self.slice.records[0].timestamp_ms if self.slice else None
        return Standing(next_offset, oldest_ms, self.handled_ms)

    def begin(self, one: Slice, work: Work[H] | None) -> None:
        """The slice is next; without work it is looked at only when its turn comes."""
        self.slice, self.work, self.failures, self.unsure = one, work, 0, False

    def spare(self, seconds: float) -> int | None:
        """After an attempt that took so long in vain: how many of the slice's records are to be tried next; None for all."""
        if seconds < TOO_LONG_S or self.length() < 2:
            return None
        self.most = self.length() // 2
        return self.most

    def grow(self, seconds: float, most: int) -> None:
        """After a slice that took so long: the next may have more records, `most` in the end."""
        if self.most is not None and seconds < QUICK_S:
            self.most = 2 * self.most if 2 * self.most < most else None

    def begin_first(self, records: Sequence[Record]) -> None:
        """The first of the records is next, alone; the others wait behind it."""
        self.begin(Slice(self.topic, self.number, records[:1]), None)
        self.rest = records[1:]

    def wait(self, reason: str) -> None:
        """It comes again after a back-off."""
        self.retry_at, self.reason = time.monotonic() + self.backoff.next_s(), reason

    def well(self) -> None:
        """Nothing stands in the way, and no slice is begun."""
        self.slice, self.work, self.failures, self.unsure = None, None, 0, False
        self.rest = ()
        self.retry_at, self.reason = 0.0, ""
        self.backoff.reset()

    def finish(self, next_offset: int) -> None:
        """The slice is committed. While records are taken one by one, the next of them is begun."""
        if self.claim is not None:
            self.claim = replace(self.claim, next_offset=next_offset, claims=1, deaths=0)
        if self.slice is not None:
            self.handled_ms = self.slice.records[-1].timestamp_ms
        rest = self.rest
        self.well()
        self.careful = bool(rest)
        if rest:
            self.begin_first(rest)

    def drop(self, reason: str, until: float) -> None:
        """Somebody else's now; claimed again at `until` if it is still assigned to us."""
        self.well()
        self.claim, self.hint, self.retry_at, self.reason = None, None, until, reason
