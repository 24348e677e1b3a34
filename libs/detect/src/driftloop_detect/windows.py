"""Closed event-time windows, and river's detector on one value per window.

Outcomes of one day are nearly one observation: a detector fed outcome by outcome alarms daily in a world that stands
still. So the concept trigger takes the mean loss of a closed window, standardised by the windows of the version's
back-test, which are also its memory. Times are microseconds since the epoch, UTC.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Final, Self

import numpy as np

from driftloop_detect.errors import DetectorRefused, NotReady, SnapshotRejected
from driftloop_detect.frame import pack, unpack
from driftloop_detect.guarded import DetectorState, primed, step
from driftloop_detect.spec import Alarms, DetectorSpec, FloatArray, IntArray

DAY_US: Final = 86_400_000_000
# Fewer give a standard deviation that is wrong by half, and with it the threshold.
MIN_BACKTEST_WINDOWS: Final = 5
# An onset further back than this is said as "before": more is no use to a person, and the state stays small.
REMEMBERED_CLOSES: Final = 64


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


@dataclass(frozen=True, slots=True)
class Bar:
    """The loss that a version is held to: the windows of its back-test, their mean and standard deviation."""

    mean: float
    sd: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, windows: Iterable[Window]) -> Self:
        """Raises NotReady when there are fewer than 5 windows, or all are equal."""
        values = [window.mean for window in windows if np.isfinite(window.mean)]
        if len(values) < MIN_BACKTEST_WINDOWS:
            raise NotReady(f"a back-test has at least {MIN_BACKTEST_WINDOWS} windows, got {len(values)}")
        mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
        if sd <= 1e-12 * max(1.0, abs(mean)):
            raise NotReady(
                f"the {len(values)} windows of the back-test all have the loss {mean:g}: nothing to scale by"
            )
        return cls(mean, sd, tuple(values))

    def standardised(self, means: FloatArray) -> FloatArray:
        return (means - self.mean) / self.sd


@dataclass(frozen=True, slots=True)
class Judged:
    """A closed window as the trigger saw it."""

    window: Window
    z: float
    """Standard deviations of the back-test's windows above their mean."""
    statistic: float
    """What was compared with the threshold."""
    alarm: bool
    """The loss has risen, by river's own verdict. A fall raises none."""
    onset_us: int | None = None
    """On an alarm: the close of the first window of the changed world; None where that lies in the back-test."""
    before: float | None = None
    after: float | None = None
    """On an alarm: mean loss before and since the onset, in the loss's own unit."""


@dataclass(frozen=True, slots=True)
class TriggerState:
    """A trigger at rest. Stepped, never changed."""

    bar: Bar
    detector: DetectorState
    closes_us: tuple[int, ...] = ()
    """The newest closes that were judged; none not after the last is judged again."""

    def to_bytes(self) -> bytes:
        """All of it, in the frame of snapshots."""
        arrays = {
            "bar": np.array([self.bar.mean, self.bar.sd, *self.bar.values]),
            "closes": np.array(self.closes_us, dtype=np.int64),
            "detector": np.frombuffer(self.detector.blob, np.uint8),
        }
        return pack(self.detector.spec.digest, arrays)

    @classmethod
    def from_bytes(cls, spec: DetectorSpec, blob: bytes) -> Self:
        """Raises SnapshotRejected for bytes of another spec or damaged ones."""
        arrays = unpack(spec.digest, blob)
        if set(arrays) != {"bar", "closes", "detector"} or len(arrays["bar"]) < 2:
            raise SnapshotRejected("it is no state of a trigger")
        mean, sd, *values = arrays["bar"].tolist()
        detector = DetectorState(spec, arrays["detector"].tobytes())
        return cls(Bar(mean, sd, tuple(values)), detector, tuple(arrays["closes"].tolist()))


@dataclass(frozen=True, slots=True)
class WindowTrigger:
    """The concept trigger: a detector on the standardised mean loss of closed windows.

    River's alarms are taken as they come. After one river's memory is empty: it stays silent for min_instances windows
    and takes the present for normal. Whoever keeps the version after an alarm calls `rearmed`.
    """

    spec: DetectorSpec

    def __post_init__(self) -> None:
        if self.spec.orientation != 1:
            raise DetectorRefused("a loss is worse when it is greater: its trigger has orientation 1")

    def start(self, bar: Bar) -> TriggerState:
        """A trigger that has watched the back-test's windows."""
        return TriggerState(bar, self._primed(bar))

    def rearmed(self, state: TriggerState) -> TriggerState:
        """Held to the same bar again, as if it had just seen the back-test. What was judged is not judged again."""
        return replace(state, detector=self._primed(state.bar))

    def step(self, state: TriggerState, windows: Sequence[Window]) -> tuple[TriggerState, list[Judged]]:
        """Each window after the last judged one has been judged, in the order given."""
        judged = []
        for window in windows:
            if not state.closes_us or window.close_us > state.closes_us[-1]:
                state, verdict = self._judged(state, window)
                judged.append(verdict)
        return state, judged

    def _primed(self, bar: Bar) -> DetectorState:
        return primed(self.spec, bar.standardised(np.array(bar.values)))

    def _judged(self, state: TriggerState, window: Window) -> tuple[TriggerState, Judged]:
        z = state.bar.standardised(np.array([window.mean]))
        detector, alarms = step(state.detector, z)
        closes = (*state.closes_us, window.close_us)[-REMEMBERED_CLOSES:]
        state = replace(state, detector=detector, closes_us=closes)
        worse = bool((alarms.direction == 1).any())
        verdict = Judged(window, float(z[0]), detector.statistic, alarm=worse)
        return state, _explained(verdict, state, alarms) if worse else verdict


def _explained(verdict: Judged, state: TriggerState, alarms: Alarms) -> Judged:
    """An alarm with its onset, and its means in the loss's unit."""
    windows_since = int(alarms.item[0] - alarms.onset_item[0]) + 1
    known = 0 < windows_since <= len(state.closes_us)
    return replace(
        verdict,
        onset_us=state.closes_us[-windows_since] if known else None,
        before=float(alarms.before[0] * state.bar.sd + state.bar.mean),
        after=float(alarms.after[0] * state.bar.sd + state.bar.mean),
    )
