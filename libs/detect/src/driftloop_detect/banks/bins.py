"""A stream's reference as bins, and what is looked at in them. Only counts of bins enter a bank: one null for every marginal."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from driftloop_detect.errors import NotReady
from driftloop_detect.spec import FloatArray

_HALF: Final = (0.01, 0.035, 0.08, 0.145, 0.225, 0.31, 0.405)
# Narrow at the ends, where a change of a tail shows first.
EDGES_AT: Final = (*_HALF, 0.5, *(1 - one for one in reversed(_HALF)))
BINS: Final = len(EDGES_AT) + 1
MIN_ROWS: Final = 500
# A failure that was never seen would weigh a hundred standard deviations: every bet on it, priced for that, loses more than a
# tenth of all rows failing could win.
RAREST_SD: Final = 0.1
# Scores are whole multiples of this: so their sums are exact, and the same in any order and any block.
GRAIN: Final = 2.0**-20

Kind = Literal["numeric", "upper", "rate", "share"]
"""numeric: location, spread and both tails, both ways. upper: location and upper tail, upwards. rate: of ones, upwards.
share: of ones, both ways."""
SCORES: Final = ("loc", "scale", "lo", "hi")
# The size of a change in standard deviations of its score that each bet is best at.
_BETS: Final = (0.2, 0.4, 0.8)
_RATE_BETS: Final = (0.15, 0.3, 0.6, 1.2)
_BOTH_WAYS: Final = tuple(sign * bet for bet in _BETS for sign in (1, -1))
WAGERS: Final[dict[Kind, tuple[tuple[float, ...], ...]]] = {
    "numeric": (_BOTH_WAYS,) * 4,
    "upper": (_BETS, (), (), _BETS),
    "rate": (_RATE_BETS, (), (), ()),
    "share": (tuple(sign * bet for bet in _RATE_BETS[1:] for sign in (1, -1)), (), (), ()),
}
"""Of each kind what is bet on each of the scores."""
MOST_BETS: Final = 6
"""On one score."""


@dataclass(frozen=True, slots=True)
class Bins:
    """A reference of n rows."""

    kind: Kind
    n: int
    edges: FloatArray
    """Shape (15,), rising; a value's bin is the number of edges below it. Unused ones are infinite."""
    shares: FloatArray
    """Shape (16,): the share of each bin, smoothed; 0 for bins that there are not."""
    scores: FloatArray
    """Shape (4, 16): of each score its value in each bin, mean 0 and standard deviation 1 under the shares."""

    def of(self, values: FloatArray) -> FloatArray:
        """The four scores of each value: shape (4, n)."""
        return self.scores[:, np.searchsorted(self.edges, values, side="left")]


def binned(kind: Kind, reference: FloatArray) -> Bins:
    """The bins of a stream's healthy values, oriented and in any order. Raises NotReady when there are too few, or no two."""
    values = np.asarray(reference, np.float64)
    if len(values) < MIN_ROWS:
        raise NotReady(f"a reference has at least {MIN_ROWS} rows, got {len(values)}")
    if not np.isfinite(values).all():
        raise NotReady("a reference has finite values only; leave out the others")
    found = _edges(kind, values)
    edges = np.full(BINS - 1, np.inf)
    edges[: len(found)] = found
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=BINS)
    there = np.arange(BINS) <= len(found)
    shares = np.where(there, (counts + 0.5) / (len(values) + there.sum() / 2), 0.0)
    return Bins(kind, len(values), edges, shares, _scores(kind, shares, len(found)))


def _edges(kind: Kind, values: FloatArray) -> FloatArray:
    if kind in ("rate", "share"):
        if not np.isin(values, (0.0, 1.0)).all():
            raise NotReady(f"a {kind} is of zeros and ones, got {values[~np.isin(values, (0.0, 1.0))][0]:g}")
        return np.array([0.5])
    edges: FloatArray = np.unique(np.quantile(values, EDGES_AT))
    # Nothing lies above the greatest value: an edge there would make a bin without a row.
    edges = edges[edges < values.max()]
    if not len(edges) and values.min() < values.max():
        edges = values[values < values.max()].max(keepdims=True)
    if not len(edges):
        raise NotReady(f"all {len(values)} values of the reference are {values[0]:g}: nothing to compare with")
    return edges


def _scores(kind: Kind, shares: FloatArray, last: int) -> FloatArray:
    if kind in ("rate", "share"):
        return np.stack([_standard(np.eye(BINS)[1], shares, RAREST_SD), *np.zeros((3, BINS))])
    loc = _standard(shares.cumsum() - shares / 2 - 0.5, shares)
    return np.stack(
        [loc, _standard(loc**2, shares), _standard(np.eye(BINS)[0], shares), _standard(np.eye(BINS)[last], shares)]
    )


def _standard(score: FloatArray, shares: FloatArray, least: float = 0.0) -> FloatArray:
    """With mean 0 and standard deviation 1 under the shares, less where its own is below `least`; all 0 where it does not vary."""
    centred = score - (score * shares).sum()
    sd = np.sqrt((centred**2 * shares).sum())
    if sd < 1e-9:
        return np.zeros_like(score)
    return np.where(shares > 0, np.round(centred / max(sd, least) / GRAIN) * GRAIN, 0.0)
