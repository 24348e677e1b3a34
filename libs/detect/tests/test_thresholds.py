"""The table of thresholds is what its simulation makes, and is asked for nothing that was not simulated."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import pytest

from driftloop_detect.banks.bins import WAGERS, Kind
from driftloop_detect.banks.simulated import simulate
from driftloop_detect.banks.stakes import SMALLEST_BET
from driftloop_detect.banks.thresholds import Cell, table, threshold
from driftloop_detect.errors import DetectorRefused, NotReady


def the_cell(kind: str, block: int, n_ref: int) -> Cell:
    (cell,) = (one for one in table() if (one.kind, one.block, one.n_ref) == (kind, block, n_ref))
    return cell


@pytest.mark.parametrize(("kind", "block", "n_ref"), [("numeric", 128, 2_000), ("rate", 512, 5_000)])
def test_a_cell_made_again_with_another_seed_and_a_twentieth_of_its_streams_is_within_three_standard_deviations(
    kind: str, block: int, n_ref: int
) -> None:
    whole = the_cell(kind, block, n_ref)
    part = simulate(whole.kind, block, n_ref, streams=whole.streams // 20, seed=whole.seed + 1)
    assert part.threshold == pytest.approx(whole.threshold, abs=3 * np.hypot(whole.sd, part.sd))
    assert part.sd > 0


@pytest.mark.parametrize("kind", list(WAGERS))
def test_once_every_bet_is_made_a_larger_reference_needs_less(kind: Kind) -> None:
    least = min(abs(bet) for bets in WAGERS[kind] for bet in bets)
    whole = [one for one in table() if one.kind == kind and least * np.sqrt(one.n_ref) >= SMALLEST_BET]
    for block, cells in groupby(whole, key=lambda one: one.block):
        for smaller, larger in pairwise(cells):
            chance = 3 * np.hypot(smaller.sd, larger.sd)
            assert larger.threshold <= smaller.threshold + chance, (block, larger.n_ref)


def test_where_a_smaller_bet_comes_in_there_is_a_cell() -> None:
    for kind, of_scores in WAGERS.items():
        for bet in {abs(bet) for bets in of_scores for bet in bets}:
            needed = next(n for n in range(1, 10_000) if bet * np.sqrt(n) >= SMALLEST_BET)
            assert needed < 500 or needed in {one.n_ref for one in table() if one.kind == kind}, (kind, bet)


def test_between_two_cells_it_is_by_the_logarithm_and_beyond_the_greatest_its_own() -> None:
    low, high = the_cell("numeric", 32, 2_000), the_cell("numeric", 32, 5_000)
    between = threshold("numeric", round(np.sqrt(2_000 * 5_000)), 32)
    assert between == pytest.approx((low.threshold + high.threshold) / 2, abs=0.01)
    assert threshold("numeric", 10**7, 32) == the_cell("numeric", 32, 20_000).threshold


def test_what_was_not_simulated_is_refused_with_what_was() -> None:
    with pytest.raises(
        DetectorRefused, match=r"blocks of 64 rows were not simulated for rate; there are \[32, 128, 512\]"
    ):
        threshold("rate", 5_000, 64)
    with pytest.raises(NotReady, match="at least 500 rows, got 499"):
        threshold("share", 499, 32)
