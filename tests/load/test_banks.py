"""What one value of one stream costs in the banks, beside river's own loop: an ADWIN a feature, fed value by value."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import pytest
import river
from river import drift
from tests.load.costs import FULL, Cell, Table, scale, small_heap

from driftloop_detect.banks.adwin import AdwinBank
from driftloop_detect.banks.bank import Bank, BankSpec
from driftloop_detect.banks.bins import binned
from driftloop_detect.banks.tilt import TiltBank

FLOOR: Final = "floor: one comparison of each value"
RIVER: Final = "river: an ADWIN a feature"
N_REF: Final = 5_000
THRESHOLD: Final = 12.0
Way = Callable[[np.ndarray], None]


@pytest.mark.parametrize("features", [50, 500])
def test_a_value_of_a_stream(features: int) -> None:
    whole = scale() is FULL
    rows = (200_000 if whole else 10_000) * 50 // features
    values = np.random.default_rng(3).standard_normal((rows, features))
    ways: dict[str, Callable[[], Way]] = {FLOOR: lambda: _compared, RIVER: lambda: _river(features)}
    for block in (128, 512):
        ways[_bets(block)] = lambda block=block: partial(_in_blocks, _tilt(features, block), block)
        ways[_adwins(block)] = lambda block=block: partial(_in_blocks, _adwin(features), block)
    table = Table(f"{features} features, {rows} rows, nothing changes", _bets(512), FLOOR)
    for _ in range(scale().rounds):
        for row, made in ways.items():
            # What a reference costs is paid once for a version of a model.
            way = made()
            with small_heap():
                began = time.process_time()
                way(values)
                table.add(row, Cell((time.process_time() - began) * 1e6 / values.size))
    table.show()
    assert table.ratio(RIVER, _bets(128)) >= (5 if whole else 1.5)
    assert table.ratio(RIVER, _bets(512)) >= (10 if whole else 3)
    assert table.ratio(RIVER, _adwins(512)) >= 1


def _bets(block: int) -> str:
    return f"bets on bins, blocks of {block}"


def _adwins(block: int) -> str:
    return f"bank of ADWINs, {block} rows a call"


def _compared(values: np.ndarray) -> None:
    for start in range(0, len(values), 512):
        (values[start : start + 512] > 0).any()


def _river(features: int) -> Way:
    detectors = [drift.ADWIN() for _ in range(features)]

    def heard(values: np.ndarray) -> None:
        for row in values.tolist():
            for detector, value in zip(detectors, row, strict=True):
                detector.update(value)
                if detector.drift_detected:
                    continue

    return heard


def _in_blocks(bank: Bank, rows: int, values: np.ndarray) -> None:
    for start in range(0, len(values), rows):
        bank.update_block(values[start : start + rows])


def _tilt(features: int, block: int) -> TiltBank:
    past = np.random.default_rng(4).standard_normal((N_REF, features))
    params = (("block", block), ("threshold", THRESHOLD))
    return TiltBank(_spec("tilt", "driftloop:tilt", params, features), [binned("numeric", one) for one in past.T])


def _adwin(features: int) -> AdwinBank:
    return AdwinBank(_spec("vadwin", f"river-{river.__version__}:ADWIN", (("delta", 0.002),), features))


def _spec(backend: str, semantics: str, params: tuple[tuple[str, float], ...], features: int) -> BankSpec:
    return BankSpec(backend, semantics, params, (0,) * features, ((-np.inf, np.inf),) * features)
