"""Typed JSON rows to the columns of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from driftloop_bus.columns import columns, numbers, time_columns
from driftloop_bus.envelope import Envelope, microseconds
from driftloop_bus.errors import BadMessage
from driftloop_bus.origin import first_logged_ms
from driftloop_bus.ports import Record

Read = tuple[Record, Envelope, Any]


def predictions(group: Sequence[Read]) -> dict[str, Any]:
    """Columns of PredictionBatch, places apart."""
    rows = [value for _, _, value in group]
    return _of_models(group) | {
        "times": np.array([_time(*read) for read in group], dtype=np.int64),
        "prediction_ids": [row.prediction_id for row in rows],
        "versions": [row.version for row in rows],
        "variants": [row.variant for row in rows],
        "scores": numbers([None if isinstance(row.score, list) else row.score for row in rows]),
        "class_scores": [row.score if isinstance(row.score, list) else None for row in rows],
        "predictions": [row.prediction for row in rows],
        "entities": [row.entity for row in rows],
        "latency_ms": numbers([row.latency_ms for row in rows]),
        "features": columns([row.features for row in rows]),
        "keys": columns([row.keys for row in rows]),
        "segments": columns([row.segment for row in rows]),
        "feature_times": time_columns([_microseconds(row.feature_times) for row in rows]),
    }


def outcomes(group: Sequence[Read]) -> dict[str, Any]:
    """Columns of OutcomeBatch, places apart."""
    rows = [value for _, _, value in group]
    for record, _, row in group:
        named(row.prediction_id, row.entity, row.time, record)
    return _of_models(group) | {
        "times": np.array([microseconds(row.observed_at) for row in rows], dtype=np.int64),
        "prediction_ids": [row.prediction_id for row in rows],
        "entities": [row.entity for row in rows],
        "prediction_times": np.array([microseconds(row.time) if row.time else 0 for row in rows], dtype=np.int64),
        "values": np.array([number_of(row.value) for row in rows], dtype=np.float64),
        "texts": [row.value if isinstance(row.value, str) else None for row in rows],
        "revisions": np.array([row.revision for row in rows], dtype=np.int32),
        "variants": [row.variant for row in rows],
    }


def observations(group: Sequence[Read]) -> dict[str, Any]:
    """Columns of ObservationBatch, places apart."""
    rows = [value for _, _, value in group]
    return {
        "times": np.array([microseconds(row.time) for row in rows], dtype=np.int64),
        "views": [row.view for row in rows],
        "entities": [row.entity for row in rows],
        "values": [row.values for row in rows],
        "revisions": np.array([row.revision for row in rows], dtype=np.int32),
    }


def named(prediction_id: str | None, entity: str | None, time: object, record: Record) -> None:
    """Raises BadMessage when an outcome says of no prediction."""
    if prediction_id is None and (entity is None or time is None):
        raise BadMessage("an outcome needs prediction_id, or entity and time; found neither", at=record.position)


def number_of(value: bool | int | float | str) -> float:
    """True is 1, text NaN. Raises OverflowError on an integer beyond float64."""
    return math.nan if isinstance(value, str) else float(value)


def _of_models(group: Sequence[Read]) -> dict[str, Any]:
    return {
        "models": [row.model for _, _, row in group],
        "streams": [f"{row.model}/{row.shard}" if row.shard else row.model for _, _, row in group],
    }


def _time(record: Record, envelope: Envelope, row: Any) -> int:
    when = envelope.time or row.time or datetime.fromtimestamp(first_logged_ms(record) / 1000, UTC)
    return microseconds(when)


def _microseconds(times: Mapping[str, datetime]) -> dict[str, int]:
    return {name: microseconds(time) for name, time in times.items()}
