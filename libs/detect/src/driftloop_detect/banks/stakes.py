"""What each bet on a score wins, and what it pays for it."""

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.banks.bank import BankSpec, BoolArray
from driftloop_detect.banks.bins import MOST_WAGERS, WAGERS, Bins
from driftloop_detect.spec import FloatArray, IntArray

Wealth = NDArray[np.float32]
# A bet that is not there: it loses more each row than any wins.
NEVER: Final = 1e30
# A reference of n rows knows its own mean to 1/sqrt(n): a bet on less would bet on that error.
SMALLEST_BET: Final = 7.0


class Stakes:
    """What each bet wins and pays. A stream's bets stand in one row; those that it has not never win."""

    def __init__(self, references: Sequence[Bins], vif: FloatArray) -> None:
        shape = len(references), MOST_WAGERS
        self._score, self._factor, self._price = np.zeros(shape, np.int64), np.zeros(shape), np.full(shape, NEVER)
        self._there = np.zeros(shape, np.bool_)
        for stream, one in enumerate(references):
            for place, (score, bet) in enumerate(WAGERS[one.kind]):
                if abs(bet) * np.sqrt(one.n) < SMALLEST_BET or not one.scores[score].any():
                    continue
                psi = np.log((one.shares * np.exp(bet * one.scores[score])).sum())
                self._there[stream, place], self._score[stream, place] = True, score
                self._factor[stream, place] = bet / vif[stream, score]
                self._price[stream, place] = psi / vif[stream, score]
        self._bytes = (
            b"".join(part.tobytes() for one in references for part in (one.edges, one.shares, one.scores))
            + vif.tobytes()
        )

    def digest(self, spec: BankSpec) -> bytes:
        """sha256 of the spec and of what the bets stand on."""
        return hashlib.sha256(spec.digest + self._bytes).digest()

    def wins(self, sums: FloatArray, present: IntArray) -> Wealth:
        """Of each block, stream and bet what it has won. sums: (blocks, F, 4)."""
        picked = np.take_along_axis(sums, np.broadcast_to(self._score, (len(sums), *self._score.shape)), axis=2)
        won: Wealth = (picked * self._factor - present[:, :, None] * self._price).astype(np.float32)
        return won

    def log_e(self, wealth: Wealth, streams: IntArray) -> FloatArray:
        """The log of the mean of the wealth of each stream's bets."""
        there: BoolArray = self._there[streams]
        most = np.where(there, wealth[streams], -np.inf).astype(np.float64)
        top: FloatArray = most.max(axis=1, initial=0.0)
        shares: FloatArray = np.exp(most - top[:, None]).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        return np.asarray(top + np.log(shares), np.float64)

    def told(self, stream: int, place: int, wealth: float, items: int) -> tuple[int, float]:
        """Which score a bet is on, and the mean that the score must have had to win this."""
        mean = (wealth / items + self._price[stream, place]) / self._factor[stream, place]
        return int(self._score[stream, place]), float(mean)
