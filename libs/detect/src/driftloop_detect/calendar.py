"""Closed event-time windows: which row belongs to which, and when one is over.

Outcomes of one day are nearly one observation: a detector fed outcome by outcome alarms daily in a world that stands
still. So losses are gathered into the windows of a calendar. Times are microseconds since the epoch, UTC. Nothing here
knows a detector: who only counts windows need not load river.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Final, Self

import numpy as np

from driftloop_detect.spec import FloatArray, IntArray

DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """What a closed window holds: the rows after the previous close, up to and including its own."""

    close_us: int
    mean: float
    n: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which window a time belongs to. Windows of one length, one of which closes at `closes_us` after midnight UTC.

    A time on the boundary belongs to the window that closes there. A window is over when the stream's clock has
    *passed* its close, since until then another row of that very moment may come.
    """

    length_us: int
    closes_us: int
    min_outcomes: int

    @classmethod
    def of(cls, length: timedelta, closes: str = "00:00Z", min_outcomes: int = 200) -> Self:
        """closes: `HH:MMZ`. Raises ValueError for a length that is not positive or does not fit the day evenly."""
        length_us = round(length / timedelta(microseconds=1))
        if length_us <= 0 or (DAY_US % length_us and length_us % DAY_US):
            raise ValueError(f"a window divides the day, or is a number of days, got {length}")
        if min_outcomes < 1:
            raise ValueError(f"min_outcomes is at least 1, got {min_outcomes}")
        hours, minutes = closes.removesuffix("Z").split(":")
        return cls(length_us, (int(hours) * 60 + int(minutes)) * 60_000_000, min_outcomes)

    def close_of(self, times_us: IntArray) -> IntArray:
        """The close of the window that each time belongs to: the first one not before it."""
        return -((self.closes_us - times_us) // self.length_us) * self.length_us + self.closes_us

    def last_closed(self, clock_us: int) -> int:
        """The close of the newest window that is over at this clock."""
        return int(self.close_of(np.array([clock_us]))[0]) - self.length_us


@dataclass(frozen=True, slots=True)
class Gathering:
    """The rows of the window that is open, as sums. Stepped, never changed."""

    n: int = 0
    total: float = 0.0
    close_us: int | None = None
    """The close that the clock has not passed yet; None before the first row."""
    done_us: int | None = None
    """The close of the newest window that is closed: a row not after it comes too late."""
    late: int = 0
    not_finite: int = 0


def gather(
    state: Gathering, calendar: Calendar, times_us: IntArray, losses: FloatArray
) -> tuple[Gathering, list[Window]]:
    """The rows have been counted in log order; the windows that their times closed follow, oldest first.

    The clock is the greatest time so far, so how the log is cut into calls decides nothing, to the last bit.
    A window with fewer than min_outcomes rows stays open until the next close: a stream of few outcomes is judged
    less often, but not never. Late rows and losses that are not finite are counted and go no further.
    """
    if len(times_us) == 0:
        return state, []
    closes = np.maximum.accumulate(calendar.close_of(np.asarray(times_us)))
    if state.close_us is not None:
        closes = np.maximum(closes, state.close_us)
    cuts = [0, *(np.flatnonzero(np.diff(closes)) + 1).tolist(), len(closes)]
    closed: list[Window] = []
    for start, end in pairwise(cuts):
        state, window = _passed(state, calendar, int(closes[start]))
        closed += [window] if window else []
        state = _counted(state, times_us[start:end], losses[start:end])
    return state, closed


def _passed(state: Gathering, calendar: Calendar, close_us: int) -> tuple[Gathering, Window | None]:
    """The clock stands in the window of this close: the one before it is closed, if it holds enough."""
    over = state.close_us
    if over is None or over == close_us or state.n < calendar.min_outcomes:
        return replace(state, close_us=close_us), None
    window = Window(over, state.total / state.n, state.n)
    return replace(state, n=0, total=0.0, close_us=close_us, done_us=over), window


def _counted(state: Gathering, times_us: IntArray, losses: FloatArray) -> Gathering:
    late = np.zeros(len(times_us), bool) if state.done_us is None else times_us <= state.done_us
    finite = np.isfinite(losses)
    kept = losses[~late & finite]
    # accumulate adds from left to right; sum adds in pairs, and its last bit would depend on the cut.
    total = np.add.accumulate(np.concatenate([[state.total], kept]))[-1]
    return replace(
        state,
        n=state.n + len(kept),
        total=float(total),
        late=state.late + int(late.sum()),
        not_finite=state.not_finite + int((~late & ~finite).sum()),
    )


def windows_of(calendar: Calendar, times_us: IntArray, losses: FloatArray) -> list[Window]:
    """All windows that rows of the past fill, in time order: those of a back-test. The last may be cut short by its end.

    Rows may come in any order. Windows with fewer than min_outcomes rows are joined with the next; a remainder is left out.
    """
    order = np.argsort(times_us, kind="stable")
    times, ordered = np.asarray(times_us)[order], np.asarray(losses, dtype=np.float64)[order]
    if len(times) == 0:
        return []
    state, closed = gather(Gathering(), calendar, times, ordered)
    _, last = _passed(state, calendar, int(calendar.close_of(times[-1:])[0]) + calendar.length_us)
    return [*closed, last] if last else closed
