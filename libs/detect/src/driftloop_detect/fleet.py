"""One number for a whole fleet: how many false incidents a model may have in a month, whatever the number of its streams.

At each tick the streams' evidence is decided on together, after Z. Xu and A. Ramdas, "Online multiple testing with e-values"
and R. Wang and A. Ramdas, "False discovery rate control with e-values", 2022: the k strongest are declared when the k-th
has at least N / (alpha k). It holds whatever streams have in common.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from driftloop_detect.spec import FloatArray, IntArray

TICK_S: Final = 5.0
MONTH_S: Final = 30 * 86_400.0
Path = tuple[str, ...]
"""Model, then what is below it: segment, family, stream."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What one tick decides."""

    streams: IntArray
    """Declared, the strongest first."""
    level: float
    """Nats that each of them has at least; that of a single one where none is declared."""


def alpha(false_incidents_per_month: float, tick_s: float = TICK_S) -> float:
    """What one tick may spend of the budget. Raises ValueError for a budget that is not positive."""
    if not false_incidents_per_month > 0:
        raise ValueError(f"false incidents per month are above 0, got {false_incidents_per_month}")
    return false_incidents_per_month * tick_s / MONTH_S


def calibrated(log_e: FloatArray, threshold: FloatArray, arl_rows: float, block: int) -> FloatArray:
    """Evidence whose simulated threshold lies above what theory asks for, reduced by as much.

    threshold: of each stream, nats, for one false alarm in arl_rows rows. A reference of few rows knows itself badly, and
    its evidence is worth less.
    """
    return np.asarray(log_e - np.maximum(0.0, threshold - np.log(arl_rows / block)), np.float64)


def declare(log_e: FloatArray, alpha: float, weights: FloatArray | None = None) -> Declared:
    """The streams with evidence for a change at this tick: on average at most a share alpha of the declared is false.

    weights: how much each stream matters, at least 0; scaled to mean 1, for with them the budget must be the same.
    """
    if not len(log_e):
        return Declared(np.zeros(0, np.int64), float("inf"))
    # A weight of 0 asks for more evidence than there is.
    with np.errstate(divide="ignore"):
        weighed = log_e if weights is None else log_e + np.log(weights / weights.mean())
    order = np.argsort(-weighed, kind="stable")
    levels = np.log(len(log_e) / alpha) - np.log(np.arange(1, len(log_e) + 1))
    passing = np.flatnonzero(weighed[order] >= levels)
    many = int(passing[-1]) + 1 if len(passing) else 0
    return Declared(order[:many].astype(np.int64), float(levels[max(many - 1, 0)]))


def incidents(paths: Sequence[Path], declared: Declared) -> dict[Path, list[int]]:
    """Where to open an incident, with the declared streams below it: as high as more than half of what lies below has moved.

    A cause that moves a whole model is one incident and not one a stream; one that moves a single stream of several stays there,
    however strong it is. Only the place is decided here: that something has changed is what the streams' own evidence says.
    """
    moved = _moved(paths, declared)
    found: dict[Path, list[int]] = {}
    for stream in declared.streams.tolist():
        path = paths[stream]
        node = next(path[:depth] for depth in range(1, len(path) + 1) if path[:depth] in moved)
        found.setdefault(node, []).append(stream)
    return found


def _moved(paths: Sequence[Path], declared: Declared) -> set[Path]:
    """The declared streams, and every node of which more than half of the children have moved."""
    if len(set(paths)) != len(paths):
        raise ValueError("two streams have one path")
    moved, level = {paths[stream] for stream in declared.streams.tolist()}, set(paths)
    for depth in range(max(map(len, paths), default=1) - 1, 0, -1):
        children = Counter(path[:-1] for path in level if len(path) == depth + 1)
        carried = Counter(path[:-1] for path in moved if len(path) == depth + 1)
        moved |= {node for node, many in carried.items() if 2 * many > children[node]}
        level |= set(children)
    return moved
