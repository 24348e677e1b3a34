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
        self._low, self._high = np.array(spec.domain, np.float64).T
        turned = np.array(spec.orientation) == -1
        # In [0, 1] a good share becomes the bad one, else the sign turns.
        shares = (self._low == 0) & (self._high == 1)
        self._sign = np.where(turned, -1.0, 1.0)
        self._shift = np.where(turned & shares, 1.0, 0.0)
        self._turns = bool(turned.any())

    def admit(self, values: FloatArray, present: BoolArray | None, counts: BankCounts) -> Admitted:
        """values: shape (n, F). Raises ValueError for another shape."""
        block = np.asarray(values, np.float64)
        _has_shape("values", block.shape, (len(block), len(self._low)))
        inside = (block >= self._low) & (block <= self._high) & np.isfinite(block)
        there = np.ones_like(inside) if present is None else np.asarray(present, np.bool_)
        _has_shape("present", there.shape, block.shape)
        accepted = inside & there
        whole = bool(accepted.all())
        after = counts if not len(block) else _counted(counts, there, accepted)
        if self._turns:
            block = block * self._sign + self._shift
        return Admitted(block if whole else np.where(accepted, block, self._instead), accepted, after, whole)


def none_yet(streams: int) -> BankCounts:
    """The counts of a new bank."""
    return BankCounts(*(np.zeros(streams, np.int64) for _ in range(3)))


def _counted(counts: BankCounts, there: BoolArray, accepted: BoolArray) -> BankCounts:
    present, taken = there.sum(axis=0), accepted.sum(axis=0)
    return BankCounts(
        counts.accepted + taken, counts.absent + (len(there) - present), counts.invalid + (present - taken)
    )


def _has_shape(name: str, got: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(got) != tuple(wanted):
        raise ValueError(f"{name} of a block have shape (rows, streams), here {tuple(wanted)}, got {tuple(got)}")
