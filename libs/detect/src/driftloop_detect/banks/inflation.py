"""By how much the variance of a block's sum exceeds that of independent rows: what neighbours in time have in common."""

from typing import Final

import numpy as np

from driftloop_detect.banks.bins import Bins
from driftloop_detect.errors import NotReady
from driftloop_detect.spec import FloatArray

# Sums of fewer rows do not show what rows have in common over a longer time.
MIN_BLOCK: Final = 32
# A variance of fewer sums says nothing.
FEWEST_BLOCKS: Final = 5
# So many blocks of its own weigh as much as what the model's other streams show.
WEIGHT: Final = 30.0


def inflation(reference: Bins, in_order: FloatArray, block: int) -> FloatArray:
    """Of each of the four scores; at least 1. in_order: the reference's values in the order of time, finite.

    A variance that independent rows show by chance, up to three of its standard deviations, is 1. Raises NotReady for fewer
    rows than five blocks, or five times 32.
    """
    size = max(block, MIN_BLOCK)
    blocks = len(in_order) // size
    if blocks < FEWEST_BLOCKS:
        raise NotReady(f"the variance of {size} rows shows in {FEWEST_BLOCKS} times as many, got {len(in_order)}")
    sums = reference.of(in_order[: blocks * size]).reshape(4, blocks, size).sum(axis=2) / np.sqrt(size)
    variance = (sums**2).mean(axis=1)
    return np.where(variance > 1 + 3 * np.sqrt(2 / blocks), variance, 1.0)


def shrunk(inflations: FloatArray, blocks: int) -> FloatArray:
    """Those of a model's streams, shape (F, 4), each drawn to their median the more the fewer blocks it was seen in."""
    own = np.log(inflations)
    share = WEIGHT / (WEIGHT + blocks)
    return np.asarray(np.exp((1 - share) * own + share * np.median(own, axis=0)), np.float64)
