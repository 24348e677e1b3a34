"""A histogram of a service, as its /metrics says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Histogram:
    """Seconds."""

    up_to: dict[float, float]
    """How many were at most so long, by ascending edge; the last edge is infinite."""
    total_s: float

    @classmethod
    def read(cls, metrics: str, name: str) -> Self:
        """Of the text that Prometheus would get, of a histogram without labels."""
        lines = [line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith(name)]
        edges = {
            float(what.split('"')[1]): float(count) for what, count in lines if what.startswith(f'{name}_bucket{{le="')
        }
        [total] = [float(value) for what, value in lines if what == f"{name}_sum"]
        return cls(dict(sorted(edges.items())), total)

    def since(self, earlier: Histogram) -> Histogram:
        """What came between."""
        counts = {edge: count - earlier.up_to[edge] for edge, count in self.up_to.items()}
        return Histogram(counts, self.total_s - earlier.total_s)

    @property
    def count(self) -> float:
        return self.up_to[float("inf")]

    @property
    def mean_s(self) -> float:
        return self.total_s / self.count

    def at_most_s(self, share: float) -> float:
        """The edge under which this share of them lies for certain: never less than the true quantile."""
        return next(edge for edge, count in self.up_to.items() if count >= share * self.count)
