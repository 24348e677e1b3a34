"""ADWIN's buckets: how a window of n items is cut follows from n alone, never from the values.

Each item comes as a bucket of its own; a sixth bucket of one size makes the two oldest of that size one of the double.
So two windows of one length have the same cuts, and a bank can look at all of them at once. After A. Bifet and R. Gavalda,
"Learning from time-changing data with adaptive windowing", 2007, as river has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.spec import FloatArray, IntArray

# River's defaults, which a bank does not change: with others another detector would be meant.
CLOCK: Final = 32
MAX_BUCKETS: Final = 5
MIN_WINDOW: Final = 5


@lru_cache(maxsize=4096)
def ends(n: int) -> IntArray:
    """How many items lie before the end of each bucket, oldest first; the last is n itself."""
    sizes, size, inserted = [], 1, n
    while inserted:
        merged = max(0, (inserted - MAX_BUCKETS + 1) // 2)
        sizes += [size] * (inserted - 2 * merged)
        size, inserted = 2 * size, merged
    return np.cumsum(np.array(sizes[::-1], np.int64))


@dataclass(frozen=True, slots=True)
class Turns:
    """What one turn of the clock, from n items to n + 32, means for the windows of some streams.

    Columns of shape (cuts, G), or (cuts, 1) where all windows are of one length. Cuts are the ends of the new buckets.
    """

    kept: IntArray
    """Which of the sums before the old ends and, counted from the back, before each of the 32 items is that of the cut."""
    older: FloatArray
    """(1 / items before it + 1 / items after it) / scale; 0 where the cut is not looked at."""
    newer: FloatArray
    """1 / items after it / scale; 0 where the cut is not looked at."""
    slack: FloatArray
    """What the bound has beside the standard deviation, / scale; infinite where the cut is not looked at."""

    @property
    def is_one(self) -> bool:
        """All windows are of one length."""
        return int(self.kept.shape[1]) == 1


def turns(n: IntArray, delta: float) -> Turns:
    """The turns that begin with so many items; n: shape (G,).

    A cut with n0 items before it and n1 after it, with sums u0 and u1, is a change when
    abs(u0/n0 - u1/n1) > sqrt(2 q d V/W) + 2 q d / 3, where V is the sum of squared deviations, W = n0 + n1,
    q = 1/(n0 - 4) + 1/(n1 - 4) and d = ln(2 ln(W) / delta). Divided by its scale sqrt(2 q d), which no value changes, only
    the standard deviation sqrt(V/W) of the stream is left on the right.
    """
    if (n == n[0]).all():
        return _turn(int(n[0]), delta)
    lengths, of = np.unique(n, return_inverse=True)
    each = [_turn(one, delta) for one in lengths.tolist()]
    return Turns(
        _aligned([one.kept for one in each], 0)[:, of],
        _aligned([one.older for one in each], 0.0)[:, of],
        _aligned([one.newer for one in each], 0.0)[:, of],
        _aligned([one.slack for one in each], np.inf)[:, of],
    )


def _aligned(columns: Sequence[NDArray[Any]], nothing: float) -> NDArray[Any]:
    """Columns of several lengths side by side."""
    beside = np.full((max(map(len, columns)), len(columns)), nothing, columns[0].dtype)
    for at, one in enumerate(columns):
        beside[: len(one), at] = one[:, 0]
    return beside


@lru_cache(maxsize=4096)
def _turn(n: int, delta: float) -> Turns:
    old, new, whole = ends(n), ends(n + CLOCK), n + CLOCK
    kept = np.where(new <= n, np.searchsorted(old, new), new - whole - 1)
    wide = (new >= MIN_WINDOW) & (whole - new >= MIN_WINDOW)
    n0 = np.where(wide, new, MIN_WINDOW).astype(np.float64)
    n1 = whole - n0
    scaled = 2 * np.log(2 * np.log(whole) / delta) * (1 / (n0 - MIN_WINDOW + 1) + 1 / (n1 - MIN_WINDOW + 1))
    scale = np.sqrt(scaled)
    older, newer = (np.where(wide, one / scale, 0.0) for one in (1 / n0 + 1 / n1, 1 / n1))
    slack = np.where(wide, scaled / 3 / scale, np.inf)
    return Turns(kept[:, None], older[:, None], newer[:, None], slack[:, None])


def bound(n0: IntArray, whole: int, deviations: float, delta: float) -> FloatArray:
    """By how much the means on both sides of each cut may differ, computed in river's order; infinite where river does not look."""
    wide = (n0 >= MIN_WINDOW) & (whole - n0 >= MIN_WINDOW)
    before = np.where(wide, n0, MIN_WINDOW)
    log = np.log(2 * np.log(whole) / delta)
    recip = 1 / (before - MIN_WINDOW + 1) + 1 / (whole - before - MIN_WINDOW + 1)
    return np.where(wide, np.sqrt(2 * recip * (deviations / whole) * log) + 2 / 3 * log * recip, np.inf)
