"""Is the challenger better? Windows are the unit of evidence, never rows.

Rows of one window share their weather, so a bound from resampled rows is far too narrow. Here windows are drawn with
replacement, each with all of its rows.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from driftloop_detect.spec import FloatArray, IntArray

RESAMPLES: Final = 2_000
TAIL: Final = 0.025
# With fewer the resampled bound is hardly below the gain itself, whatever the truth.
MIN_WINDOWS: Final = 5
# The largest share of its stake that the e-value risks on one window.
MAX_BET: Final = 0.5

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class PairedWindows:
    """The mean paired gain of each window, champion's loss minus challenger's on the same rows, and its rows."""

    gains: FloatArray
    rows: IntArray

    @property
    def gain(self) -> float:
        """Mean gain per row."""
        return float(np.average(self.gains, weights=self.rows))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one look says. All numbers are finite."""

    verdict: Verdict
    """better: the whole interval is above the margin. worse: it is below. Else, or with few windows, undecided."""
    gain: float
    lower: float
    upper: float
    rows: int
    windows: int
    resamples: int
    seed: int
    log_e: float
    """Natural log of the anytime-valid evidence for a gain above the margin. Shown; decides nothing."""
    reason: str


def paired(windows: IntArray, champion: FloatArray, challenger: FloatArray) -> PairedWindows:
    """The rows' paired gains by window. windows: shape (n,), the close of each row's window; losses: shape (n,).

    A row that lacks one of the losses (not finite) is no pair and is left out of both.
    """
    gains = champion - challenger
    pair = np.isfinite(gains)
    closes, which = np.unique(windows[pair], return_inverse=True)
    rows = np.bincount(which, minlength=len(closes))
    return PairedWindows(np.bincount(which, gains[pair], len(closes)) / np.maximum(rows, 1), rows.astype(np.int64))


def bounds(pairs: PairedWindows, *, seed: int, resamples: int = RESAMPLES, tail: float = TAIL) -> tuple[float, float]:
    """The lower and upper `tail` quantile of the gain per row when windows are resampled.

    The same pairs and seed give the same bounds: the generator is Philox, whose stream numpy keeps.
    """
    random = np.random.Generator(np.random.Philox(seed))
    drawn = random.integers(0, len(pairs.gains), size=(resamples, len(pairs.gains)))
    totals = (pairs.gains * pairs.rows)[drawn].sum(axis=1)
    lower, upper = np.quantile(totals / pairs.rows[drawn].sum(axis=1), [tail, 1 - tail])
    return float(lower), float(upper)


def log_evidence(pairs: PairedWindows, *, margin: float = 0.0, cap: float = 1.0) -> float:
    """Natural log of an e-value, window after window: without a gain above the margin its expectation is at most 1 at any time.

    cap: the gain that counts as 1; gains beyond are cut, so that each lies in [-1, 1] as the bound needs.
    Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", 2024 (approximate GRO bets).
    """
    x = np.clip(pairs.gains / cap, -1, 1) - margin / cap
    before = np.concatenate([[0.0], np.cumsum(x)[:-1]])
    squares = np.concatenate([[0.0], np.cumsum(x * x)[:-1]])
    bets = np.clip(before / (1 + squares), 0, MAX_BET)
    return float(np.sum(np.log1p(bets * x)))


def judge(
    pairs: PairedWindows,
    *,
    seed: int,
    margin: float = 0.0,
    cap: float = 1.0,
    resamples: int = RESAMPLES,
    min_windows: int = MIN_WINDOWS,
) -> Judgement:
    """One look at the paired gains of closed windows, in time order. Without any pair: undecided, all numbers 0."""
    windows, rows = len(pairs.gains), int(pairs.rows.sum())
    if rows == 0:
        return Judgement("undecided", 0.0, 0.0, 0.0, 0, 0, resamples, seed, 0.0, "no row has both losses")
    lower, upper = bounds(pairs, seed=seed, resamples=resamples)
    verdict, reason = _verdict(lower, upper, margin, windows, min_windows)
    evidence = log_evidence(pairs, margin=margin, cap=cap)
    return Judgement(verdict, pairs.gain, lower, upper, rows, windows, resamples, seed, evidence, reason)


def _verdict(lower: float, upper: float, margin: float, windows: int, min_windows: int) -> tuple[Verdict, str]:
    if windows < min_windows:
        return "undecided", f"{windows} windows, {min_windows} are needed"
    interval = f"95 % interval of the gain [{lower:+.4f}, {upper:+.4f}], windows resampled"
    if lower > margin:
        return "better", f"{interval}, lies above {margin:g}"
    if upper < margin:
        return "worse", f"{interval}, lies below {margin:g}"
    return "undecided", f"{interval}, holds {margin:g}"
