"""The loss that a version is held to, as its back-test showed it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from driftloop_detect.calendar import Calendar, Window, windows_of
from driftloop_detect.errors import NotReady
from driftloop_detect.resample import PairedWindows, bounds
from driftloop_detect.spec import FloatArray, IntArray

# 512 steps and both ends: a step of .002 in rank, 4 kB on the wire.
QUANTILES: Final = 513


@dataclass(frozen=True, slots=True)
class BacktestLosses:
    """Mean, spread and windows of a back-test's losses."""

    n: int
    mean: float
    interval: tuple[float, float]
    """95 % of the mean, windows resampled."""
    quantiles: FloatArray
    windows: tuple[Window, ...]


def quantiles(losses: FloatArray) -> FloatArray:
    """513 quantiles at equal steps of rank, from the least to the greatest loss. Raises NotReady without a finite loss."""
    finite = losses[np.isfinite(losses)]
    if len(finite) == 0:
        raise NotReady("a loss to hold needs at least one finite loss")
    return np.quantile(finite, np.linspace(0, 1, QUANTILES))


def loss_to_hold(times_us: IntArray, losses: FloatArray, calendar: Calendar, *, seed: int) -> BacktestLosses:
    """What a version's back-test hands to its watch. Losses that are not finite are left out.

    Raises NotReady when no window is filled: there would be nothing to hold the version to.
    """
    windows = tuple(windows_of(calendar, times_us, losses))
    if not windows:
        raise NotReady(f"no window of the back-test holds {calendar.min_outcomes} outcomes")
    finite = losses[np.isfinite(losses)]
    return BacktestLosses(len(finite), float(finite.mean()), _interval(windows, seed), quantiles(losses), windows)


def _interval(windows: Sequence[Window], seed: int) -> tuple[float, float]:
    means, rows = np.array([w.mean for w in windows]), np.array([w.n for w in windows], dtype=np.int64)
    return bounds(PairedWindows(means, rows), seed=seed)
