"""River's detector on one value per closed event-time window.

The concept trigger takes the mean loss of a closed window, standardised by the windows of the version's
back-test, which are also its memory. Times are microseconds since the epoch, UTC.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from driftloop_detect.calendar import Calendar, Gathering, Window, gather, windows_of
from driftloop_detect.errors import DetectorRefused, NotReady, SnapshotRejected
from driftloop_detect.frame import pack, unpack
from driftloop_detect.guarded import DetectorState, primed, step
from driftloop_detect.spec import Alarms, DetectorSpec, FloatArray

__all__ = [
    "Bar", "Calendar", "Gathering", "Judged", "TriggerState", "Window", "WindowTrigger", "gather", "windows_of",
]  # fmt: skip

# Fewer give a standard deviation that is wrong by half, and with it the threshold.
MIN_BACKTEST_WINDOWS: Final = 5
# An onset further back than this is said as "before": more is no use to a person, and the state stays small.
REMEMBERED_CLOSES: Final = 64


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
