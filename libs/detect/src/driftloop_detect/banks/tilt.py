"""Tilted bets against a known reference: an e-detector on the bins of many streams at once.

Each stream's score g has mean 0 under its reference. A bet a on it grows by a g - psi(a) each row, where
psi(a) = log E exp(a g) under the reference: exp of the sum is a martingale with mean 1 while nothing changes. Restarted
whenever it has lost its stake (a CUSUM of log wealth), so it needs no guess of when the change comes. After J. Shin,
A. Ramdas, A. Rinaldo, "E-detectors", 2023.
"""

from collections.abc import Sequence
from typing import Final, Self

import numpy as np

from driftloop_detect.banks.bank import BankAlarms, BankCounts, BankSpec, BoolArray, in_order
from driftloop_detect.banks.bins import BINS, MOST_BETS, SCORES, Bins
from driftloop_detect.banks.door import Admitted, Door
from driftloop_detect.banks.parts import Parts
from driftloop_detect.banks.stakes import Stakes, Wealth, step
from driftloop_detect.banks.state import check
from driftloop_detect.frame import pack, unpack
from driftloop_detect.spec import FloatArray, IntArray

_KINDS: Final[dict[str, type]] = {"counts": np.int64, "open": np.int64, "wealth": np.uint8, "since": np.int64}
# So many blocks are looked at together: what is between two steps stays in the cache.
TOGETHER: Final = 64


class TiltBank:
    """See `Bank`. Its spec's parameters are block, the rows that are looked at together, and threshold, in nats.

    references: of each stream, in order. vif: of each stream and score, shape (F, 4), by how much the variance of a
    block's sum exceeds that of independent rows; 1 for independent ones.
    """

    scores = SCORES

    def __init__(self, spec: BankSpec, references: Sequence[Bins], vif: FloatArray | None = None) -> None:
        if len(references) != spec.streams:
            raise ValueError(f"{spec.streams} streams have a reference each, got {len(references)}")
        self.spec = spec
        self._block, self._threshold = int(spec.settings["block"]), float(spec.settings["threshold"])
        self._door = Door(spec, instead=-np.inf)
        self._counts = BankCounts.none_yet(spec.streams)
        self._edges = np.stack([one.edges for one in references]).T.copy()
        self._steps = np.stack([np.diff(one.scores, axis=1, prepend=0.0).T for one in references])
        """Shape (F, 16, 4): what a score has in the lowest bin, and what it gains at each edge."""
        self._stakes = Stakes(references, np.ones((spec.streams, 4)) if vif is None else vif)
        self._open = np.zeros((BINS, spec.streams), np.int64)
        """Of the block that is not full yet: present values, and those above each edge."""
        self._rows = 0
        self._wealth: Wealth = np.zeros(self._stakes.shape, np.float32)
        self._since = np.zeros(self._stakes.shape, np.int64)
        """The item after which the bet has not lost its stake."""

    @property
    def counts(self) -> BankCounts:
        return self._counts

    def update_block(self, values: FloatArray, present: BoolArray | None = None) -> BankAlarms:
        """See `Bank.update_block`."""
        values, present = self._door.given(values, present)
        raised: list[dict[str, float]] = []
        for start in range(0, len(values), TOGETHER * self._block):
            part = slice(start, start + TOGETHER * self._block)
            block = self._door.admit(values[part], None if present is None else present[part], self._counts)
            raised += [{**one, "row": one["row"] + start} for one in self._seen(block)]
            self._counts = block.counts
        return in_order(raised)

    def evidence(self) -> FloatArray:
        """Of each stream the log of its e-detector, in nats, as it stood at its last full block. Shape (F,)."""
        return self._stakes.log_e(self._wealth, np.arange(self.spec.streams))

    def reset(self, streams: IntArray) -> None:
        """See `Bank.reset`. What the block that is not full holds counts for what comes after."""
        self._wealth[streams] = 0
        self._since[streams] = (self._counts.accepted - self._open[0])[streams, None, None]

    def snapshot(self) -> bytes:
        """See `Bank.snapshot`."""
        arrays = {
            "counts": self._counts.packed(),
            "open": np.concatenate([[self._rows], self._open.ravel()]),
            "wealth": self._wealth.view(np.uint8).ravel(), "since": self._since.ravel(),
        }  # fmt: skip
        return pack(self._stakes.digest(self.spec), arrays)

    @classmethod
    def restore(cls, spec: BankSpec, references: Sequence[Bins], blob: bytes, vif: FloatArray | None = None) -> Self:
        """The bank that was taken down to these bytes under this spec and these references. Raises SnapshotRejected."""
        bank = cls(spec, references, vif)
        arrays = unpack(bank._stakes.digest(spec), blob)
        bets = bank._wealth.size
        sizes = {"counts": 3 * spec.streams, "open": 1 + bank._open.size, "wealth": 4 * bets, "since": bets}
        check(arrays, _KINDS, sizes, spec.streams, "bets")
        bank._counts = BankCounts.unpacked(arrays["counts"])
        bank._rows, bank._open = int(arrays["open"][0]), arrays["open"][1:].reshape(bank._open.shape)
        bank._wealth = arrays["wealth"].view(np.float32).reshape(bank._stakes.shape)
        bank._since = arrays["since"].reshape(bank._stakes.shape)
        return bank

    def _seen(self, block: Admitted) -> list[dict[str, float]]:
        """Whole blocks have been bet on; what is left of the rows waits."""
        parts = Parts.of(len(block.values), self._rows, self._block)
        above = (parts.marked(block.values > edge) for edge in self._edges)
        counts = np.stack([parts.marked(block.accepted), *above], axis=1)
        counts[0] += self._open
        before, full = self._counts.accepted - self._open[0], counts[: parts.full]
        self._rows = (self._rows + len(block.values)) % self._block
        self._open = counts[-1] if parts.count > parts.full else np.zeros_like(self._open)
        items = before + full[:, 0].cumsum(axis=0)
        wins = self._stakes.wins(self._sums(full), full[:, 0])
        return [one for at in range(len(full)) for one in self._bet(wins[at], items[at], parts.last_row(at))]

    def _sums(self, counts: IntArray) -> FloatArray:
        """Of each block and stream the sums of the four scores. Exact: all are whole multiples of one grain."""
        sums: FloatArray = np.matmul(counts.transpose(2, 0, 1).astype(np.float64), self._steps)
        return sums.transpose(1, 0, 2)

    def _bet(self, wins: Wealth, items: IntArray, row: int) -> list[dict[str, float]]:
        wealth = self._wealth
        step(wealth, wins)
        np.copyto(self._since, items[:, None, None], where=wealth <= 0)
        if float(wealth.max()) <= self._threshold:
            return []
        # As wide as the threshold: rounded to the wealth's own width it may be the greater one.
        rich = np.flatnonzero(wealth.max(axis=(1, 2)).astype(np.float64) > self._threshold)
        log_e = self._stakes.log_e(wealth, rich)
        passed = log_e > self._threshold
        found = [
            self._alarm(int(one), float(e), items, row) for one, e in zip(rich[passed], log_e[passed], strict=True)
        ]
        wealth[rich[passed]] = 0
        self._since[rich[passed]] = items[rich[passed], None, None]
        return found

    def _alarm(self, stream: int, log_e: float, items: IntArray, row: int) -> dict[str, float]:
        score, place = divmod(int(self._wealth[stream].argmax()), MOST_BETS)
        onset, end = int(self._since[stream, score, place]), int(items[stream])
        both = self.spec.orientation[stream] == 0
        direction = 1 if both else self._stakes.direction(score, place, stream)
        mean = self._stakes.mean(stream, score, place, float(self._wealth[stream, score, place]), end - onset)
        return {
            "stream": stream, "row": row, "item": end - 1, "onset_item": onset, "direction": direction, "score": score,
            "log_e": log_e, "before": 0.0, "after": mean,
        }  # fmt: skip
