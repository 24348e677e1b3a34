"""What a prediction cost, row by row, and what knowing nothing but the recent rate would have cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# A probability nearer to 0 or 1 is taken for this: one overconfident row cannot outweigh a day. As in back-tests.
CLIP: Final = 1e-6
DAY_US: Final = 86_400_000_000


def log_loss(scores: FloatArray, values: FloatArray) -> FloatArray:
    """Nats; NaN where the score is no probability or the value is not 0 or 1."""
    p = np.clip(scores, CLIP, 1 - CLIP)
    return np.where(_binary(scores, values), -np.where(values > 0, np.log(p), np.log1p(-p)), np.nan)


def brier(scores: FloatArray, values: FloatArray) -> FloatArray:
    """(p - y)², 0 to 1; NaN where the score is no probability or the value is not 0 or 1."""
    return np.where(_binary(scores, values), (scores - values) ** 2, np.nan)


def squared(scores: FloatArray, values: FloatArray) -> FloatArray:
    """(prediction - value)², in the value's unit squared."""
    error = scores - values
    return error * error


def _binary(scores: FloatArray, values: FloatArray) -> NDArray[np.bool_]:
    both: NDArray[np.bool_] = (scores >= 0) & (scores <= 1) & ((values == 0) | (values == 1))
    return both


LOSSES: Final[Mapping[str, Callable[[FloatArray, FloatArray], FloatArray]]] = {
    "log_loss": log_loss, "brier": brier, "squared": squared,
}  # fmt: skip


def losses(name: str, scores: FloatArray, values: FloatArray) -> FloatArray:
    """The named loss of each row; NaN where it cannot be said, never infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        cost = LOSSES[name](scores, values)
    return np.where(np.isfinite(cost), cost, np.nan)


def last_24h_rate(times_us: IntArray, arrived_us: IntArray, values: FloatArray) -> FloatArray:
    """For each prediction the mean of the outcomes that arrived in the 24 hours before it; NaN where none did.

    times_us: shape (n,), when each prediction was for; arrived_us: shape (m,), ascending, with the outcomes' values.
    """
    known = np.isfinite(values)
    arrived, sums = arrived_us[known], np.concatenate([[0.0], np.cumsum(values[known])])
    low = np.searchsorted(arrived, times_us - DAY_US, side="left")
    high = np.searchsorted(arrived, times_us, side="left")
    counts = high - low
    return np.where(counts > 0, (sums[high] - sums[low]) / np.maximum(counts, 1), np.nan)
