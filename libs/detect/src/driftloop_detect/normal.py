"""Any marginal as a normal one: by rank in a reference. A detector whose bound assumes a scale then has one."""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import combinations
from statistics import NormalDist
from typing import Final, Self

import numpy as np

from driftloop_detect.errors import NotReady
from driftloop_detect.spec import FloatArray

MIN_ROWS: Final = 500
# All pairs of so many features are 56 projections; of more, a draw of 64 that depends on their names alone.
MOST_WHOLE: Final = 8
DRAWN: Final = 64


@dataclass(frozen=True, slots=True)
class NormalScores:
    """The ranks of a reference, ready to look up."""

    ranked: FloatArray

    @classmethod
    def of(cls, reference: FloatArray) -> Self:
        """Values that are not finite are left out. Raises NotReady for fewer than 500 others."""
        finite = np.sort(reference[np.isfinite(reference)])
        if len(finite) < MIN_ROWS:
            raise NotReady(f"normal scores need at least {MIN_ROWS} finite values, got {len(finite)}")
        return cls(finite)

    def __call__(self, values: FloatArray) -> FloatArray:
        """z = inverse normal of (rank + 1/2) / (n + 1), ties in the middle of their ranks. NaN stays NaN."""
        below, upto = (np.searchsorted(self.ranked, values, side=side) for side in ("left", "right"))
        return np.where(np.isnan(values), np.nan, _quantiles(len(self.ranked))[below + upto])


@dataclass(frozen=True, slots=True)
class Projection:
    """(z_i + z_j) / sqrt 2, or with a minus: what two features do together while each alone stands still."""

    i: int
    j: int
    sign: int

    def __call__(self, scores: FloatArray) -> FloatArray:
        """scores: normal scores, shape (n, F). Normal too while the features are independent. Shape (n,)."""
        return np.asarray((scores[:, self.i] + self.sign * scores[:, self.j]) / np.sqrt(2.0), np.float64)


def projections(names: tuple[str, ...]) -> list[Projection]:
    """Every pair of up to 8 features both ways; of more, 64 drawn by the features' names, in whatever order they stand."""
    order = sorted(range(len(names)), key=lambda at: names[at])
    every = [Projection(i, j, sign) for i, j in combinations(order, 2) for sign in (1, -1)]
    if len(names) <= MOST_WHOLE:
        return every
    random = np.random.Generator(np.random.Philox(_seed(tuple(names[at] for at in order))))
    return [every[at] for at in np.sort(random.choice(len(every), DRAWN, replace=False)).tolist()]


@lru_cache(maxsize=64)
def _quantiles(n: int) -> FloatArray:
    """The normal quantile of each half rank: shape (2 n + 1,)."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse((twice / 2 + 0.5) / (n + 1)) for twice in range(2 * n + 1)])


def _seed(names: tuple[str, ...]) -> int:
    return int.from_bytes(sha256("\0".join(names).encode()).digest()[:8], "little")
