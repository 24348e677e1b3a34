"""A version held to its back-test: river's detector on the mean loss of closed windows.

A watch never starts empty: a version that is bad from its first row must be found. One that brings no losses to hold
gathers windows of its own first, and is blind until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from driftloop_detect.calendar import Window
from driftloop_detect.errors import NotReady
from driftloop_detect.resample import PairedWindows, bounds
from driftloop_detect.windows import Bar, Judged, TriggerState
from monitor.domain.rules import Rules

# As many as a back-test has, so that both kinds of bar are equally sharp.
OWN_WINDOWS: Final = 28
# What people are shown, and what an onset may reach back to.
REMEMBERED: Final = 64
# A week in which the loss is on average where the detector's slack begins is no drift any more.
CALM_WINDOWS: Final = 7


@dataclass(frozen=True, slots=True)
class Seen:
    """One closed window of the version that answers."""

    close_us: int
    mean: float
    n: int
    z: float | None = None
    """Standard deviations above the bar; None while there was no bar."""
    statistic: float | None = None
    gate_loss: float | None = None
    floor: float | None = None
    """What the last 24 hours' rate would have lost on the same rows, in the gate's loss."""


@dataclass(frozen=True, slots=True)
class Watch:
    """The champion's trigger, and where its windows stand. Stepped, never changed."""

    version: str
    open_us: int
    """Rows that arrived after it belong to the open window."""
    trigger: bytes | None
    """None while the version has no bar."""
    own: tuple[tuple[int, float, int], ...] = ()
    """Close, mean and rows of the windows that will be its bar."""
    recent: tuple[Seen, ...] = ()
    tried_us: int = 0
    """The newest close that was looked at, though it may have held too few rows."""

    @property
    def blind(self) -> bool:
        """It has no bar yet: nothing can be found."""
        return self.trigger is None


def started(version: str, since_us: int, backtest: Sequence[Window], rules: Rules) -> Watch:
    """The version's watch from then on, primed by its back-test where that is enough."""
    try:
        bar = Bar.of(backtest)
    except NotReady:
        return Watch(version, since_us, None, tried_us=since_us)
    return Watch(version, since_us, rules.trigger.start(bar).to_bytes(), tried_us=since_us)


def next_close(watch: Watch, rules: Rules) -> int:
    """The close of the window that is open, or of the one that it grows into while it holds too few rows."""
    after = max(watch.open_us, watch.tried_us) + 1
    return int(rules.calendar.close_of(np.array([after]))[0])


def stepped(watch: Watch, rules: Rules, window: Seen) -> tuple[Watch, Judged | None]:
    """The watch has seen the window, once; with a bar also what the detector says of it.

    After an alarm the detector is held to the same bar again, with the memory that it started with.
    """
    closed = Window(window.close_us, window.mean, window.n)
    if watch.trigger is None:
        return _gathered(_seen(watch, window), rules, closed), None
    state = TriggerState.from_bytes(rules.trigger.spec, watch.trigger)
    state, judged = rules.trigger.step(state, [closed])
    if not judged:
        return replace(watch, tried_us=window.close_us), None
    verdict = judged[0]
    state = rules.trigger.rearmed(state) if verdict.alarm else state
    seen = replace(window, z=verdict.z, statistic=verdict.statistic)
    return replace(_seen(watch, seen), trigger=state.to_bytes()), verdict


def rebuilt(watch: Watch, rules: Rules, backtest: Sequence[Window]) -> Watch:
    """The same watch under rules that changed: the detector starts anew on the bar and sees the windows since."""
    fresh = started(watch.version, watch.open_us, backtest, rules)
    return replace(watch, trigger=fresh.trigger)


def bar_of(watch: Watch, rules: Rules) -> Bar | None:
    """What the version is held to."""
    if watch.trigger is None:
        return None
    return TriggerState.from_bytes(rules.trigger.spec, watch.trigger).bar


def calm(watch: Watch, rules: Rules, since_us: int) -> bool:
    """A week of windows after the alarm has a loss that the bar allows."""
    last = [seen.z for seen in watch.recent if seen.close_us > since_us and seen.z is not None][-CALM_WINDOWS:]
    return len(last) == CALM_WINDOWS and float(np.mean(last)) <= rules.delta


def since_onset(watch: Watch, onset_us: int | None) -> list[Seen]:
    """The windows of the changed world, oldest first: at least the newest."""
    changed = [seen for seen in watch.recent if onset_us is None or seen.close_us >= onset_us]
    return changed or list(watch.recent[-1:])


def rise(bar: Bar, since: Sequence[Seen], seed: int) -> tuple[float, float]:
    """95 % interval of the rise of the mean loss over the bar, windows of both resampled."""
    now = PairedWindows(np.array([s.mean for s in since]), np.array([s.n for s in since], np.int64))
    then = PairedWindows(np.array(bar.values), np.ones(len(bar.values), np.int64))
    (now_low, now_high), (then_low, then_high) = bounds(now, seed=seed), bounds(then, seed=seed + 1)
    mean_now, mean_then = now.gain, then.gain
    # Independent samples: distances to the bounds add in quadrature.
    low = np.hypot(mean_now - now_low, then_high - mean_then)
    high = np.hypot(now_high - mean_now, mean_then - then_low)
    difference = mean_now - mean_then
    return float(difference - low), float(difference + high)


def _seen(watch: Watch, window: Seen) -> Watch:
    recent = (*watch.recent, window)[-REMEMBERED:]
    return replace(watch, open_us=window.close_us, tried_us=window.close_us, recent=recent)


def _gathered(watch: Watch, rules: Rules, window: Window) -> Watch:
    own = (*watch.own, (window.close_us, window.mean, window.n))
    if len(own) < OWN_WINDOWS:
        return replace(watch, own=own)
    try:
        bar = Bar.of(Window(*parts) for parts in own)
    except NotReady:
        # All equal: nothing to scale by. The oldest goes, so that a stream that begins to vary gets its bar.
        return replace(watch, own=own[1:])
    return replace(watch, own=(), trigger=rules.trigger.start(bar).to_bytes())
