"""Batches of the wire as rows of the history's tables: one Arrow table per topic, each row with where it lies in the log."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from driftloop_bus.batches import AnyBatch, ObservationBatch, OutcomeBatch, PredictionBatch
from driftloop_bus.columns import as_objects
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS

TIME: Final = pa.timestamp("us", "UTC")
_PLACE: Final = [("event_id", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()), ("row", pa.int32())]
# Open columns (features, values) are JSON texts: one table holds every model and view, and any engine reads it.
SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    PREDICTIONS.name: pa.schema(
        [*_PLACE, ("time", TIME), ("model", pa.string()), ("prediction_id", pa.string()), ("version", pa.string()),
         ("variant", pa.string()), ("entity", pa.string()), ("score", pa.float64()), ("class_scores", pa.string()),
         ("features", pa.string()), ("keys", pa.string()), ("feature_times", pa.string())]
    ),
    OUTCOMES.name: pa.schema(
        [*_PLACE, ("observed_at", TIME), ("model", pa.string()), ("prediction_id", pa.string()), ("entity", pa.string()),
         ("prediction_time", TIME), ("value", pa.float64()), ("text", pa.string()), ("revision", pa.int32()),
         ("variant", pa.string())]
    ),
    OBSERVATIONS.name: pa.schema(
        [*_PLACE, ("time", TIME), ("view", pa.string()), ("entity", pa.string()), ("values", pa.string()),
         ("revision", pa.int32())]
    ),
}  # fmt: skip
# What each table is laid out by, so that one model's or view's rows are found without reading all others'.
LAID_OUT_BY: Final = {PREDICTIONS.name: "model", OUTCOMES.name: "model", OBSERVATIONS.name: "view"}
# Strangers choose these names. A folder for each would be a file of each in every append; so many folders share them.
BUCKETS: Final = 64
BUCKET: Final = pa.field("bucket", pa.int32())
_json: Final = msgspec.json.Encoder()


def bucket_of(name: str) -> int:
    """Which folder the rows of a model or view lie in."""
    return zlib.crc32(name.encode()) % BUCKETS


def with_bucket(topic: str, rows: pa.Table) -> pa.Table:
    """The rows, each with its bucket."""
    names = pc.dictionary_encode(rows[LAID_OUT_BY[topic]].combine_chunks())
    buckets = np.array([bucket_of(name) for name in names.dictionary.to_pylist()], np.int32)
    return rows.append_column(BUCKET, pa.array(buckets[names.indices.to_numpy()], pa.int32()))


def table_of(batch: AnyBatch) -> pa.Table:
    """The batch as rows of its topic's table."""
    n = len(batch)
    place = [batch.event_ids, np.full(n, batch.partition, np.int32), batch.offsets, batch.rows]
    match batch:
        case PredictionBatch():
            columns = [*place, *_prediction(batch)]
        case OutcomeBatch():
            columns = [*place, *_outcome(batch)]
        case ObservationBatch():
            values = [_text(one) for one in batch.values]
            columns = [*place, batch.times, batch.views, batch.entities, values, batch.revisions]
    schema = SCHEMAS[batch.topic]
    arrays = [_array(column, field) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _prediction(batch: PredictionBatch) -> list[Any]:
    classes = [None if one is None else _text(one) for one in batch.class_scores]
    return [
        batch.times, batch.models, batch.prediction_ids, batch.versions, batch.variants, batch.entities, batch.scores,
        classes, _objects(batch.features, len(batch)), _objects(batch.keys, len(batch)),
        _objects({view: _moments(times) for view, times in batch.feature_times.items()}, len(batch)),
    ]  # fmt: skip


def _outcome(batch: OutcomeBatch) -> list[Any]:
    asked = pa.array(batch.prediction_times, pa.int64(), mask=batch.prediction_times == 0)
    return [
        batch.times, batch.models, batch.prediction_ids, batch.entities, asked, batch.values, batch.texts,
        batch.revisions, batch.variants,
    ]  # fmt: skip


def _array(column: Any, field: pa.Field) -> pa.Array:
    if field.type == TIME:
        whole = column if isinstance(column, pa.Array) else pa.array(column, pa.int64())
        return whole.cast(pa.timestamp("us")).cast(TIME)
    return pa.array(column, field.type, from_pandas=field.type == pa.float64())


def _objects(columns: Mapping[str, Any], n: int) -> list[str]:
    """Each row's named values as one JSON object; absent ones (null, NaN) are left out."""
    if not columns:
        return ["{}"] * n
    names, lists = list(columns), [_values(column) for column in columns.values()]
    return [
        _text({name: value for name, value in zip(names, row, strict=True) if value is not None})
        for row in zip(*lists, strict=True)
    ]


def _values(column: npt.NDArray[Any]) -> list[Any]:
    values: list[Any] = as_objects(column).tolist()
    return values


def _moments(times: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    moments = times.astype(object)
    moments[times == 0] = None
    return moments


def _text(value: Any) -> str:
    return _json.encode(value).decode()
