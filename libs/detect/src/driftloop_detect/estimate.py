"""The loss that a model should have, before any outcome: what its scores meant in training, applied to today's.

Confidence-based performance estimation. It believes that a score still means what it meant: it sees a world that asks other
questions (input drift), and is blind to one that answers the same ones otherwise (concept drift).
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from driftloop_detect.errors import NotReady
from driftloop_detect.spec import FloatArray

MIN_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Confusion:
    """Expected shares of all rows; they add to 1."""

    true_positive: float
    false_positive: float
    true_negative: float
    false_negative: float

    @property
    def error(self) -> float:
        return self.false_positive + self.false_negative

    @property
    def precision(self) -> float:
        """NaN where nothing is predicted positive."""
        return _share(self.true_positive, self.false_positive)

    @property
    def recall(self) -> float:
        """NaN where nothing is expected to be positive."""
        return _share(self.true_positive, self.false_negative)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Score to probability of a positive outcome, never falling; between the known scores by a straight line."""

    scores: FloatArray
    probabilities: FloatArray
    n: int

    @classmethod
    def fit(cls, scores: FloatArray, outcomes: FloatArray) -> Self:
        """By isotonic regression on rows whose outcomes, 0 or 1, are known. Raises NotReady for fewer than 500."""
        known = np.isfinite(scores) & np.isfinite(outcomes)
        if known.sum() < MIN_ROWS:
            raise NotReady(
                f"a calibration needs at least {MIN_ROWS} rows with score and outcome, got {int(known.sum())}"
            )
        at, where, rows = np.unique(scores[known], return_inverse=True, return_counts=True)
        means = np.bincount(where, outcomes[known]) / rows
        return cls(at, _isotonic(means, rows.astype(np.float64)), int(known.sum()))

    def probability(self, scores: FloatArray) -> FloatArray:
        """Of a positive outcome; beyond the known scores that of the nearest. NaN for a score that is NaN."""
        return np.interp(scores, self.scores, self.probabilities)

    def error(self, scores: FloatArray, threshold: float) -> FloatArray:
        """Of each row how likely its prediction, positive at or above the threshold, is wrong."""
        chance = self.probability(scores)
        return np.where(scores >= threshold, 1 - chance, chance)

    def confusion(self, scores: FloatArray, threshold: float) -> Confusion:
        """What is to be expected of these rows. Raises NotReady where no score is finite."""
        finite = scores[np.isfinite(scores)]
        if not len(finite):
            raise NotReady("no row has a finite score: nothing can be expected of them")
        chance, positive = self.probability(finite), finite >= threshold
        shares = (float((chance * positive).mean()), float(((1 - chance) * positive).mean()))
        return Confusion(*shares, float(((1 - chance) * ~positive).mean()), float((chance * ~positive).mean()))


def _isotonic(means: FloatArray, weights: FloatArray) -> FloatArray:
    """The never falling values nearest to the means, by pooling neighbours that fall (Ayer et al., 1955)."""
    pools: list[tuple[float, float, int]] = []
    for mean, weight in zip(means.tolist(), weights.tolist(), strict=True):
        pool = (mean, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            before, heavy, many = pools.pop()
            both = heavy + pool[1]
            pool = ((before * heavy + pool[0] * pool[1]) / both, both, many + pool[2])
        pools.append(pool)
    return np.repeat([mean for mean, _, _ in pools], [many for _, _, many in pools])


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest > 0 else float("nan")
