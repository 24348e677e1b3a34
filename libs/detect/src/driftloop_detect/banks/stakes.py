"""What each bet on a score wins, and what it pays for it."""

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.banks.bank import BankSpec, BoolArray
from driftloop_detect.banks.bins import MOST_BETS, SCORES, WAGERS, Bins
from driftloop_detect.spec import FloatArray, IntArray

Wealth = NDArray[np.float32]
# A bet that is not there: it loses more each row than any wins.
NEVER: Final = 1e30
# A reference of n rows knows its own mean to 1/sqrt(n): a bet on less would bet on that error.
SMALLEST_BET: Final = 7.0


class Stakes:
    """What each bet wins and pays. Of each stream and score there is room for six; those that it has not never win."""

    def __init__(self, references: Sequence[Bins], vif: FloatArray) -> None:
        shape = len(references), len(SCORES), MOST_BETS
        self._factor, self._price = np.zeros(shape), np.full(shape, NEVER)
        self._there = np.zeros(shape, np.bool_)
        for stream, one in enumerate(references):
            for score, bets in enumerate(WAGERS[one.kind]):
                for place, bet in enumerate(bets if one.scores[score].any() else ()):
                    if abs(bet) * np.sqrt(one.n) >= SMALLEST_BET:
                        psi = _cumulant(bet * one.scores[score], one.shares)
                        self._there[stream, score, place] = True
                        self._factor[stream, score, place] = bet / vif[stream, score]
                        self._price[stream, score, place] = psi / vif[stream, score]
        self._digest = hashlib.sha256(np.asarray(vif, np.float64).tobytes())
        for one in references:
            self._digest.update(f"{one.kind} {one.n} ".encode())
            for part in (one.edges, one.shares, one.scores):
                self._digest.update(part.tobytes())

    @property
    def shape(self) -> tuple[int, ...]:
        """Streams, scores, bets."""
        return self._there.shape

    def digest(self, spec: BankSpec) -> bytes:
        """sha256 of the spec and of what the bets stand on."""
        return hashlib.sha256(spec.digest + self._digest.digest()).digest()

    def wins(self, sums: FloatArray, present: IntArray) -> Wealth:
        """Of each block, stream, score and bet what it has won. sums: (blocks, F, 4); present: (blocks, F)."""
        won: Wealth = (sums[..., None] * self._factor - present[..., None, None] * self._price).astype(np.float32)
        return won

    def log_e(self, wealth: Wealth, streams: IntArray) -> FloatArray:
        """The log of the mean of the wealth of each stream's bets; minus infinity where it has none. Shape (streams,)."""
        there: BoolArray = self._there[streams].reshape(len(streams), len(SCORES) * MOST_BETS)
        bets = np.where(there, wealth[streams].reshape(there.shape), -np.inf).astype(np.float64)
        many = np.maximum(there.sum(axis=1), 1)
        return np.asarray(np.logaddexp.reduce(bets, axis=1) - np.log(many), np.float64)

    def direction(self, score: int, place: int, stream: int) -> int:
        """1 where the bet won on something worse: greater values, fewer small ones, or more spread. Else -1."""
        upwards = self._factor[stream, score, place] > 0
        return 1 if SCORES[score] == "scale" or upwards == (SCORES[score] != "lo") else -1

    def mean(self, stream: int, score: int, place: int, wealth: float, items: int) -> float:
        """What a score must have been on average for its bet to win this."""
        factor, price = self._factor[stream, score, place], self._price[stream, score, place]
        return float((wealth / items + price) / factor)


def step(wealth: Wealth, won: Wealth) -> None:
    """The wealth is what it was, or the stake where that was lost, and what was won since. In place: this is the innermost loop."""
    np.maximum(wealth, 0, out=wealth)
    wealth += won


def _cumulant(tilted: FloatArray, shares: FloatArray) -> float:
    """log E exp(tilted) under the shares; also where exp alone would be too large a number."""
    there = shares > 0
    return float(np.logaddexp.reduce(tilted[there] + np.log(shares[there])))
