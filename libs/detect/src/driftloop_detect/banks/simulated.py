"""Makes the table of thresholds: `python -m driftloop_detect.banks.simulated [--cell KIND BLOCK N_REF] [--part 20]`.

Streams of uniform rows, each with a reference of its own, since what a reference does not know of itself decides most.
Only counts of bins reach a bank, so these are drawn, not the rows: the same law, and the null of every continuous marginal.
Rates are simulated at several shares of ones, and the greatest threshold counts.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from driftloop_detect.banks.bins import BINS, Bins, Kind, binned
from driftloop_detect.banks.stakes import Stakes, step
from driftloop_detect.banks.thresholds import PER_10K, TABLE, Cell
from driftloop_detect.spec import FloatArray

STREAMS, ROWS = 2_000, 100_000
BLOCKS: Final = (32, 128, 512)
# Also where a smaller bet comes in, which a smaller reference must not make: on both sides of it the law is another.
_VALUES: Final = (500, 1_000, 1_225, 2_000, 5_000, 20_000)
_RATES: Final = (500, 545, 1_000, 2_000, 2_178, 5_000, 20_000)
N_REFS: Final[dict[Kind, tuple[int, ...]]] = {"numeric": _VALUES, "upper": _VALUES, "rate": _RATES, "share": _RATES}
KINDS: Final[tuple[Kind, ...]] = ("numeric", "upper", "rate", "share")
SHARES: Final = (0.01, 0.1, 0.5)
SEED: Final = 20130
# So many streams and blocks at once, so that what is between two steps stays small.
STREAMS_AT_ONCE, BLOCKS_AT_ONCE = 100, 64


def simulate(kind: Kind, block: int, n_ref: int, *, streams: int = STREAMS, rows: int = ROWS, seed: int = SEED) -> Cell:
    """One cell. The same arguments give the same cell."""
    drawn = [
        _threshold(
            np.concatenate(
                list(
                    _peaks(
                        [seed, KINDS.index(kind), block, n_ref, int(1000 * (share or 0))], kind, share, streams, rows
                    )
                )
            ),
            rows,
        )
        for share in (SHARES if kind in ("rate", "share") else (None,))
    ]
    level, sd = max(drawn)
    return Cell(kind, block, n_ref, round(level, 3), round(sd, 3), streams, rows, seed)


def _peaks(named: Sequence[int], kind: Kind, share: float | None, streams: int, rows: int) -> Iterator[FloatArray]:
    """Of each stream the greatest log evidence that it ever showed. named: seed and cell, as numbers."""
    _, _, block, n_ref, _ = named
    for start in range(0, streams, STREAMS_AT_ONCE):
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([*named, start])))
        many = min(STREAMS_AT_ONCE, streams - start)
        references = [_reference(kind, n_ref, share, random) for _ in range(many)]
        yield _peak(references, _chances(references, share), block, rows // block, random)


def _reference(kind: Kind, n_ref: int, share: float | None, random: np.random.Generator) -> Bins:
    values = random.random(n_ref)
    return binned(kind, values if share is None else (values < share).astype(np.float64))


def _chances(references: Sequence[Bins], share: float | None) -> FloatArray:
    """Of each stream how likely a row falls into each bin."""
    if share is not None:
        return np.tile([1 - share, share, *np.zeros(BINS - 2)], (len(references), 1))
    ends = np.stack([np.clip(one.edges, 0, 1) for one in references])
    return np.diff(ends, axis=1, prepend=0.0, append=1.0)


def _peak(
    references: Sequence[Bins], chances: FloatArray, block: int, blocks: int, random: np.random.Generator
) -> FloatArray:
    stakes = Stakes(references, np.ones((len(references), 4)))
    scores = np.stack([one.scores.T for one in references])
    wealth, every = np.zeros(stakes.shape, np.float32), np.arange(len(references))
    peak = np.zeros(len(references))
    for start in range(0, blocks, BLOCKS_AT_ONCE):
        many = min(BLOCKS_AT_ONCE, blocks - start)
        counts = random.multinomial(block, chances, size=(many, len(references)))
        sums = np.matmul(counts.transpose(1, 0, 2).astype(np.float64), scores).transpose(1, 0, 2)
        for won in stakes.wins(sums, np.full((many, len(references)), block)):
            step(wealth, won)
            peak = np.maximum(peak, stakes.log_e(wealth, every))
    return peak


def _threshold(peaks: FloatArray, rows: int) -> tuple[float, float]:
    """The level that the share of streams passes that is asked for, and its standard deviation."""
    passing = PER_10K * rows / 10_000
    random = np.random.Generator(np.random.Philox(SEED))
    again = np.quantile(random.choice(peaks, (200, len(peaks))), 1 - passing, axis=1)
    return float(np.quantile(peaks, 1 - passing)), float(again.std())


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the table, or prints one cell."""
    words = argparse.ArgumentParser(prog="python -m driftloop_detect.banks.simulated", description=__doc__)
    words.add_argument("--cell", nargs=3, metavar=("KIND", "BLOCK", "N_REF"), help="print this one, write nothing")
    words.add_argument("--part", type=int, default=1, help="with so many times fewer streams")
    asked = words.parse_args(argv)
    if asked.cell:
        kind, block, n_ref = asked.cell
        print(json.dumps(asdict(simulate(kind, int(block), int(n_ref), streams=STREAMS // asked.part))))
        return
    cells = []
    for one, rows, size in ((kind, block, n) for kind in KINDS for block in BLOCKS for n in N_REFS[kind]):
        cells.append(simulate(one, rows, size, streams=STREAMS // asked.part))
        print(json.dumps(asdict(cells[-1])), file=sys.stderr, flush=True)
    lines = ",\n  ".join(json.dumps(asdict(one)) for one in cells)
    Path(__file__).with_name(TABLE).write_text(f'{{"per_10k": {PER_10K}, "cells": [\n  {lines}\n]}}\n')


if __name__ == "__main__":
    main()
