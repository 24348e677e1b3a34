"""Rows cut into calls, and alarms as if there had been one call."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from driftloop_detect.banks.bank import BankAlarms


def cut(rows: int, seed: int, most: int) -> Iterator[slice]:
    """All rows, in parts of 1 to `most`."""
    random, at = np.random.default_rng(seed), 0
    while at < rows:
        size = int(random.integers(1, most + 1))
        yield slice(at, at + size)
        at += size


def told(alarms: BankAlarms, start: int = 0) -> list[dict[str, float]]:
    """The alarms of a call that began with this row; without evidence where there is none, for NaN is no equal of itself."""
    return [
        {name: value for name, value in one.items() if value == value} | {"row": one["row"] + start}
        for one in alarms.rows()
    ]
