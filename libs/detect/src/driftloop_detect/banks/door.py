"""The door before every bank: present, finite, in the domain; then greater is worse."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from driftloop_detect.banks.bank import BankCounts, BankSpec, BoolArray
from driftloop_detect.spec import FloatArray


@dataclass(frozen=True, slots=True)
class Admitted:
    """A block that may be looked at: where `accepted` is False stands what the door puts there."""

    values: FloatArray
    accepted: BoolArray
    counts: BankCounts
    """Those after this block."""
    all: bool
    """Nothing was turned away."""


class Door:
    """Knows the domains and orientations of a spec as arrays."""

    def __init__(self, spec: BankSpec, instead: float) -> None:
        """instead: stands for each value that is turned away."""
        self._instead = instead
        # Within what is finite, so that one comparison with each end also finds infinities and NaN.
        most = np.finfo(np.float64).max
        self._low, self._high = np.clip(np.array(spec.domain, np.float64).T, -most, most)
        turned = np.array(spec.orientation) == -1
        # In [0, 1] a good share becomes the bad one, else the sign turns.
        shares = (self._low == 0) & (self._high == 1)
        self._sign = np.where(turned, -1.0, 1.0)
        self._shift = np.where(turned & shares, 1.0, 0.0)
        self._turns = bool(turned.any())

    def given(self, values: FloatArray, present: BoolArray | None) -> tuple[FloatArray, BoolArray | None]:
        """A call's rows. Raises ValueError for another shape than (n, F), before anything was looked at."""
        block = np.asarray(values, np.float64)
        _has_shape("values", block.shape, (len(block), len(self._low)))
        if present is None:
            return block, None
        there = np.asarray(present, np.bool_)
        _has_shape("present", there.shape, block.shape)
        return block, there

    def admit(self, block: FloatArray, present: BoolArray | None, counts: BankCounts) -> Admitted:
        """Rows as `given` returns them."""
        inside = block >= self._low
        inside &= block <= self._high
        accepted = inside if present is None else inside & present
        whole = bool(accepted.all())
        after = _counted(counts, len(block), None if whole else accepted, present)
        if self._turns:
            block = block * self._sign + self._shift
        return Admitted(block if whole else np.where(accepted, block, self._instead), accepted, after, whole)


def _counted(counts: BankCounts, rows: int, accepted: BoolArray | None, present: BoolArray | None) -> BankCounts:
    """accepted: None where all are. present: None where all are."""
    taken = rows if accepted is None else accepted.sum(axis=0)
    there = rows if present is None else present.sum(axis=0)
    return BankCounts(counts.accepted + taken, counts.absent + (rows - there), counts.invalid + (there - taken))


def _has_shape(name: str, got: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(got) != tuple(wanted):
        raise ValueError(f"{name} of a block have shape (rows, streams), here {tuple(wanted)}, got {tuple(got)}")
