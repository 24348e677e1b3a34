"""Blocks of a thousand predictions of one stream, in log order: how much was null, how long answers took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitor.domain.losses import FloatArray, IntArray

BLOCK_ROWS: Final = 1_000
# Shown beside each other on one page; a model with more features shows the first.
MAX_SHOWN: Final = 64
Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is being filled, or is full. Stepped, never changed."""

    rows: int = 0
    since_us: int = 0
    until_us: int = 0
    nulls: Mapping[str, int] = field(default_factory=dict)
    """Feature to rows without it."""
    timed: int = 0
    latency: float = 0.0
    """Sum over the rows that were timed, in milliseconds."""
    slowest: float = 0.0
    fastest: float = 0.0


@dataclass(frozen=True, slots=True)
class Full:
    """A full block, and the row of the call that filled it."""

    block: Block
    row: int


def filled(
    block: Block, columns: Mapping[str, Column], names: Sequence[str], times_us: IntArray, latency_ms: FloatArray
) -> tuple[Block, list[Full]]:
    """The rows have been counted; the blocks that they filled follow. How the stream is cut into calls decides nothing.

    columns: feature to shape (n,), NaN or None for null; one that is not there is null. names: the declared features.
    """
    full, start = [], 0
    null = {name: _null(columns.get(name), len(times_us)) for name in list(names)[:MAX_SHOWN]}
    while start < len(times_us):
        end = min(len(times_us), start + BLOCK_ROWS - block.rows)
        part = slice(start, end)
        block = _counted(block, {name: rows[part] for name, rows in null.items()}, times_us[part], latency_ms[part])
        if block.rows == BLOCK_ROWS:
            full.append(Full(block, end - 1))
            block = Block()
        start = end
    return block, full


def _counted(block: Block, null: Mapping[str, NDArray[np.bool_]], times_us: IntArray, latency_ms: FloatArray) -> Block:
    timed = latency_ms[np.isfinite(latency_ms)]
    # From left to right, so that a cut between two calls leaves the last bit as it was.
    total = float(np.add.accumulate(np.concatenate([[block.latency], timed]))[-1])
    extremes = [block.fastest, block.slowest] if block.timed else []
    every = np.concatenate([extremes, timed])
    return replace(
        block,
        rows=block.rows + len(times_us),
        since_us=min(block.since_us, int(times_us.min())) if block.rows else int(times_us.min()),
        until_us=max(block.until_us, int(times_us.max())),
        nulls={name: block.nulls.get(name, 0) + int(rows.sum()) for name, rows in null.items()},
        timed=block.timed + len(timed),
        latency=total,
        fastest=float(every.min()) if len(every) else 0.0,
        slowest=float(every.max()) if len(every) else 0.0,
    )


def _null(column: Column | None, rows: int) -> NDArray[np.bool_]:
    if column is None:
        return np.ones(rows, bool)
    if column.dtype.kind == "f":
        return np.isnan(column)
    return np.array([value is None or value != value for value in column.tolist()], bool)
