"""What a hot topic carries, as arrays: one batch is one partition's poll, in log order, a row per event.

Records hold one event (JSON) or many of one key (packed); a reader sees rows. A record with one bad row is bad as a whole:
its rows were written together and must be redriven together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from driftloop_bus.columns import Column, FloatArray, IntArray, joined, taken
from driftloop_bus.envelope import moment_of
from driftloop_contracts import Cause
from driftloop_contracts.event import Scalar

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The columns that every family has. Row i of one column belongs to row i of every other."""

    topic: str
    partition: int
    offsets: IntArray
    """Of the record that held the row."""
    rows: Int32Array
    """The row within its record: 0 where it held one event."""
    event_ids: list[str]
    times: IntArray
    """Event time in µs since 1970, UTC."""
    correlations: list[str | None]
    tenants: list[str]

    def __len__(self) -> int:
        return len(self.event_ids)

    def cause(self, row: int) -> Cause:
        """The event in this row, as the cause of what follows from it."""
        identity = self.event_ids[row]
        return Cause(
            identity, moment_of(self.times[row]), self.correlations[row] or identity, self.tenants[row]
        )  # fmt: skip

    def take(self, rows: npt.ArrayLike) -> Self:
        """These rows (numbers, or a mask), in this order."""
        wanted = np.asarray(rows)
        wanted = np.flatnonzero(wanted) if wanted.dtype == bool else wanted.astype(np.int64)
        return self._made({name: taken(value, wanted) for name, value in self._columns().items()})

    def after(self, *later: Self) -> Self:
        """This batch and then the later ones of the same partition."""
        if not later:
            return self
        parts = (self, *later)
        lengths = [len(part) for part in parts]
        values = [part._columns() for part in parts]  # of the same class
        return self._made({name: joined([part[name] for part in values], lengths) for name in values[0]})

    def _columns(self) -> dict[str, Any]:
        names = (field.name for field in fields(self) if field.name not in ("topic", "partition"))
        return {name: getattr(self, name) for name in names}

    def _made(self, columns: dict[str, Any]) -> Self:
        return type(self)(topic=self.topic, partition=self.partition, **columns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _OfModels(Batch):
    models: list[str]
    streams: list[str]
    """The Kafka key: model, or model/shard."""

    def by_model(self) -> dict[str, Self]:
        """The rows of each model, in log order."""
        return self._by(self.models)

    def by_stream(self) -> dict[str, Self]:
        """The rows of each stream, in log order."""
        return self._by(self.streams)

    def _by(self, names: Sequence[str]) -> dict[str, Self]:
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            rows.setdefault(name, []).append(row)
        return {name: self if len(rows) == 1 else self.take(found) for name, found in rows.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictionBatch(_OfModels):
    """PredictionMade as columns."""

    prediction_ids: list[str]
    versions: list[str | None]
    variants: list[str]
    scores: FloatArray
    """NaN where absent, or where the model gives class scores."""
    class_scores: list[list[float] | None]
    predictions: list[Scalar]
    entities: list[str | None]
    latency_ms: FloatArray
    features: dict[str, Column]
    """float64 with NaN where absent if every value of the batch is a number, else object with None."""
    keys: dict[str, Column]
    segments: dict[str, Column]
    feature_times: dict[str, IntArray]
    """µs since 1970, 0 where absent."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutcomeBatch(_OfModels):
    """OutcomeObserved as columns; `times` is when each was observed."""

    prediction_ids: list[str | None]
    entities: list[str | None]
    prediction_times: IntArray
    """µs since 1970, 0 where absent: given where the producer has no id."""
    values: FloatArray
    """True is 1, false 0, text NaN."""
    texts: list[str | None]
    revisions: Int32Array
    variants: list[str | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ObservationBatch(Batch):
    """ObservationMade as columns; `times` is when the values became known."""

    views: list[str]
    entities: list[str]
    values: list[dict[str, Scalar]]
    revisions: Int32Array


AnyBatch = PredictionBatch | OutcomeBatch | ObservationBatch
