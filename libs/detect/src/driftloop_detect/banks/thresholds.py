"""The level at which a bank alarms as seldom as is asked: simulated once, kept as a table, never extrapolated.

`python -m driftloop_detect.banks.simulated` makes the table again.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np

from driftloop_detect.banks.bins import Kind
from driftloop_detect.errors import DetectorRefused, NotReady

TABLE: Final = "thresholds.json"
# An average run of two million rows to the first false alarm, the field's 0.005 in 10,000.
PER_10K: Final = 0.005


@dataclass(frozen=True, slots=True)
class Cell:
    """One simulation: so many streams of so many rows that nothing happens to, with references of n_ref rows."""

    kind: Kind
    block: int
    n_ref: int
    threshold: float
    """Nats. It is passed in as many streams as PER_10K asks for."""
    sd: float
    """Of the threshold, streams resampled."""
    streams: int
    rows: int
    seed: int


@cache
def table() -> tuple[Cell, ...]:
    """All cells, by kind, block and n_ref."""
    text = files("driftloop_detect.banks").joinpath(TABLE).read_text()
    return tuple(Cell(**one) for one in json.loads(text)["cells"])


def threshold(kind: Kind, n_ref: int, block: int) -> float:
    """Nats, for one false alarm in two million rows. Between two cells by the log of n_ref; above the greatest its own.

    Where a smaller bet comes in the threshold jumps up; just below that it asks for more than it would have to.

    Raises NotReady for a reference smaller than any that was simulated, DetectorRefused for a block that was not.
    """
    cells = [one for one in table() if one.kind == kind and one.block == block]
    if not cells:
        blocks = sorted({one.block for one in table() if one.kind == kind})
        raise DetectorRefused(f"blocks of {block} rows were not simulated for {kind}; there are {blocks}")
    sizes, levels = [one.n_ref for one in cells], [one.threshold for one in cells]
    if n_ref < sizes[0]:
        raise NotReady(f"a reference for {kind} has at least {sizes[0]} rows, got {n_ref}")
    return float(np.interp(np.log(n_ref), np.log(sizes), levels))
