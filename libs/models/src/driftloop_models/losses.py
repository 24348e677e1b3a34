"""The loss of each row, in numpy: one number a row, for whoever averages windows, slices or pairs."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from driftloop_models.rows import Floats

# A probability closer than this to 0 or 1 is taken as this: one row costs at most 13.8 nats, so that a single
# overconfident row cannot outweigh a whole day.
CLIP: Final = 1e-6


def log_loss(score: npt.ArrayLike, outcome: npt.ArrayLike) -> Floats:
    """Minus the log of the probability given to what came true, in nats, probabilities clipped to [CLIP, 1 - CLIP].

    score: P(1), shape (n,), with outcomes 0 or 1; or class probabilities, shape (n, classes), with class positions.
    """
    p, y = _pair(score, outcome)
    if p.ndim == 2:
        taken = p[np.arange(len(p)), y.astype(np.intp)]
        return -np.log(np.clip(taken, CLIP, 1.0))
    p = np.clip(p, CLIP, 1.0 - CLIP)
    return -np.where(y > 0, np.log(p), np.log1p(-p))


def brier(score: npt.ArrayLike, outcome: npt.ArrayLike) -> Floats:
    """Squared distance of the probabilities to what came true: (p - y)² for two classes, 0 to 1; the sum over classes
    for several, 0 to 2. Bounded, hence not clipped."""
    p, y = _pair(score, outcome)
    if p.ndim == 1:
        return (p - y) ** 2
    truth = np.zeros_like(p)
    truth[np.arange(len(p)), y.astype(np.intp)] = 1.0
    summed: Floats = ((p - truth) ** 2).sum(axis=1)
    return summed


def squared(score: npt.ArrayLike, outcome: npt.ArrayLike) -> Floats:
    """(value - outcome)², for regression. Not clipped: its unit is the outcome's, squared."""
    value, y = _pair(score, outcome)
    return (value - y) ** 2


LOSSES: Final[Mapping[str, Callable[[npt.ArrayLike, npt.ArrayLike], Floats]]] = {
    "log_loss": log_loss,
    "brier": brier,
    "squared": squared,
}


def losses(name: str, score: npt.ArrayLike, outcome: npt.ArrayLike) -> Floats:
    """The named loss of each row. Raises ValueError for an unknown name or a value that is not finite."""
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is unknown; allowed: {', '.join(LOSSES)}")
    return LOSSES[name](score, outcome)


def _pair(score: npt.ArrayLike, outcome: npt.ArrayLike) -> tuple[Floats, Floats]:
    given, came_true = np.asarray(score, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    if given.shape[:1] != came_true.shape:
        raise ValueError(f"{given.shape[:1]} scores for outcomes of shape {came_true.shape}")
    if not (np.isfinite(given).all() and np.isfinite(came_true).all()):
        raise ValueError("scores and outcomes must be finite")
    return given, came_true
