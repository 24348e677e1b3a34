"""How the features of a window are distributed, in the bins of the version's training rows: to explain, never to alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.structural import Reference

Column = NDArray[Any]
Counts = dict[str, list[int]]
"""Feature to rows in each bin; the last bins are other (categories only) and missing."""

SHOWN_VALUES: Final = 12
SHOWN_FEATURES: Final = 5
# An empty bin would make the index infinite.
LEAST_SHARE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Moved:
    """A feature before and after: shares of the same bins."""

    feature: str
    bins: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    psi: float
    """Population stability index."""


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of one version's features."""

    edges: Mapping[str, NDArray[np.float64]]
    values: Mapping[str, Mapping[str, int]]
    before: Mapping[str, NDArray[np.float64]]
    """Shares in the training rows."""

    @classmethod
    def of(cls, reference: Reference) -> Bins:
        """Numbers at the training rows' quantiles, categories by their most frequent values."""
        edges, values, before = {}, {}, {}
        for name, number in reference.numbers.items():
            quantiles = np.array(number.quantiles)
            edges[name] = np.unique(quantiles[1:-1])
            steps = np.searchsorted(edges[name], _steps(quantiles), side="left")
            shares = np.bincount(steps, minlength=len(edges[name]) + 1) / len(steps)
            before[name] = np.append(shares * (1 - number.null_rate), number.null_rate)
        for name, category in reference.categories.items():
            shown = list(category.shares)[:SHOWN_VALUES]
            values[name] = {value: place for place, value in enumerate(shown)}
            known = np.array([category.shares[value] for value in shown])
            other = max(0.0, 1.0 - category.null_rate - float(known.sum()))
            before[name] = np.append(known, [other, category.null_rate])
        return cls(edges, values, before)

    def counted(self, columns: Mapping[str, Column], rows: int) -> Counts:
        """The columns' rows per bin; a column that is not there is missing."""
        numbers = {name: _of_number(columns.get(name), edges, rows) for name, edges in self.edges.items()}
        return numbers | {name: _of_category(columns.get(name), places, rows) for name, places in self.values.items()}

    def labels(self, feature: str) -> tuple[str, ...]:
        """What each bin holds, for people."""
        if feature in self.values:
            return (*self.values[feature], "other", "missing")
        edges = [f"{edge:.6g}" for edge in self.edges[feature].tolist()]
        if not edges:
            return ("any", "missing")
        between = [f"{low} to {high}" for low, high in pairwise(edges)]
        return (f"up to {edges[0]}", *between, f"above {edges[-1]}", "missing")

    def moved(self, counts: Counts) -> list[Moved]:
        """The features that moved most against the training rows, the farthest first."""
        moved = [self._moved(name, counts[name]) for name in self.before if sum(counts.get(name, []))]
        return sorted(moved, key=lambda one: (-one.psi, one.feature))[:SHOWN_FEATURES]

    def _moved(self, feature: str, counts: Sequence[int]) -> Moved:
        before, after = self.before[feature], np.array(counts) / sum(counts)
        return Moved(feature, self.labels(feature), tuple(before.tolist()), tuple(after.tolist()), psi(before, after))


def psi(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Population stability index of two distributions over the same bins."""
    low, high = np.maximum(before, LEAST_SHARE), np.maximum(after, LEAST_SHARE)
    return float(((high - low) * np.log(high / low)).sum())


def added(first: Counts, second: Counts) -> Counts:
    """Both together, bin by bin."""
    names = {**first, **second}
    return {name: _sum(first.get(name), second.get(name)) for name in names}


def _sum(first: list[int] | None, second: list[int] | None) -> list[int]:
    if first is None or second is None:
        return first or second or []
    return [a + b for a, b in zip(first, second, strict=True)]


def _steps(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """One value for each equal share of the training rows: the upper end of its step."""
    return quantiles[1:]


def _of_number(column: Column | None, edges: NDArray[np.float64], rows: int) -> list[int]:
    counts = np.zeros(len(edges) + 2, np.int64)
    if column is None:
        counts[-1] = rows
        return counts.tolist()
    numbers = (
        column if column.dtype.kind == "f" else np.array([_number(value) for value in column.tolist()], np.float64)
    )
    known = numbers[~np.isnan(numbers)]
    counts[:-1] = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    counts[-1] = rows - len(known)
    return counts.tolist()


def _of_category(column: Column | None, places: Mapping[str, int], rows: int) -> list[int]:
    other = len(places)
    if column is None:
        return [0] * (other + 1) + [rows]
    bins = [
        other + 1 if value is None or value != value else places.get(str(value), other) for value in column.tolist()
    ]
    counts: list[int] = np.bincount(bins, minlength=other + 2).tolist()
    return counts


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
