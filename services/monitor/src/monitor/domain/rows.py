"""Predictions that met their outcome, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from monitor.domain.losses import FloatArray, IntArray, losses

# Between the values of one row's slices; no value may hold it.
BETWEEN = "\x1f"


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows in the order of (arrived, prediction id, version): sums over them are the same to the last bit."""

    prediction_ids: list[str]
    versions: list[str]
    times_us: IntArray
    """What the prediction was for."""
    arrived_us: IntArray
    """When the pair was complete."""
    scores: FloatArray
    values: FloatArray
    slices: list[str]
    """`name=value` of each kept feature, joined by BETWEEN."""

    def __len__(self) -> int:
        return len(self.prediction_ids)

    def of(self, version: str) -> Self:
        """The rows that one version predicted."""
        return self.take([i for i, other in enumerate(self.versions) if other == version])

    def take(self, rows: list[int]) -> Self:
        """These rows, in the order given."""
        index = np.array(rows, dtype=np.intp)
        return type(self)(
            [self.prediction_ids[i] for i in rows],
            [self.versions[i] for i in rows],
            self.times_us[index],
            self.arrived_us[index],
            self.scores[index],
            self.values[index],
            [self.slices[i] for i in rows],
        )

    def loss(self, name: str) -> FloatArray:
        """The named loss of each row; NaN where it cannot be said."""
        return losses(name, self.scores, self.values)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Outcomes alone, by the time at which they arrived, ascending."""

    arrived_us: IntArray
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Paired:
    """The same predictions by two versions: losses on the same rows."""

    times_us: IntArray
    arrived_us: IntArray
    champion: FloatArray
    challenger: FloatArray
    values: FloatArray
    slices: list[str]


def paired(joined: Joined, champion: str, challenger: str, loss: str) -> Paired:
    """The rows that both versions predicted and on which both have a loss."""
    ours, theirs = joined.of(champion), joined.of(challenger)
    place = {prediction_id: i for i, prediction_id in enumerate(theirs.prediction_ids)}
    both = [(i, place[key]) for i, key in enumerate(ours.prediction_ids) if key in place]
    ours, theirs = ours.take([i for i, _ in both]), theirs.take([j for _, j in both])
    left, right = ours.loss(loss), theirs.loss(loss)
    kept = np.isfinite(left) & np.isfinite(right)
    arrived = np.maximum(ours.arrived_us, theirs.arrived_us)
    slices = [ours.slices[i] for i in np.flatnonzero(kept)]
    return Paired(ours.times_us[kept], arrived[kept], left[kept], right[kept], ours.values[kept], slices)
