"""Arrow columns of one packed record to the columns of a batch."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from driftloop_bus.columns import Column, FloatArray, IntArray, objects
from driftloop_bus.envelope import Envelope
from driftloop_bus.errors import BadMessage
from driftloop_bus.json_rows import named, number_of
from driftloop_bus.packing import TIMESTAMP
from driftloop_bus.ports import Record

Read = tuple[Record, Envelope, Any]
MAX_ID: Final = 250
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}")


def predictions(read: Read) -> dict[str, Any]:
    """Columns of PredictionBatch, places apart."""
    record, _, table = read
    n = table.num_rows
    return _of_models(record, n) | {
        "times": _required_times(table, "time"),
        "prediction_ids": _ids(table, required=True),
        "versions": _texts(table, "version"),
        "variants": [variant or "champion" for variant in _texts(table, "variant")],
        "scores": _floats(table, "score"),
        "class_scores": [None] * n,
        "predictions": _finite(table, "prediction").to_pylist() if "prediction" in table.column_names else [None] * n,
        "entities": _texts(table, "entity"),
        "latency_ms": _floats(table, "latency_ms"),
        "features": _group(table, "features."),
        "keys": _group(table, "keys."),
        "segments": _group(table, "segment."),
        "feature_times": {name: _times(table, f"feature_times.{name}") for name in _names(table, "feature_times.")},
    }


def outcomes(read: Read) -> dict[str, Any]:
    """Columns of OutcomeBatch, places apart."""
    record, _, table = read
    ids, entities = _ids(table, required=False), _texts(table, "entity")
    prediction_times = _times(table, "prediction_time")
    for identity, entity, time in zip(ids, entities, prediction_times.tolist(), strict=True):
        named(identity, entity, time or None, record)
    values = _required(table, "value")
    return _of_models(record, table.num_rows) | {
        "times": _required_times(table, "time"),
        "prediction_ids": ids,
        "entities": entities,
        "prediction_times": prediction_times,
        "values": np.array([number_of(value) for value in values], dtype=np.float64),
        "texts": [value if isinstance(value, str) else None for value in values],
        "revisions": _revisions(table),
        "variants": _texts(table, "variant"),
    }


def observations(read: Read) -> dict[str, Any]:
    """Columns of ObservationBatch, places apart."""
    record, _, table = read
    view, slash, entity = _key(record).partition("/")
    if not slash or not _NAME.fullmatch(view) or not 1 <= len(entity) <= MAX_ID:
        raise BadMessage(f"packed observations need the key view/entity, got {_key(record)!r}", at=record.position)
    names = _names(table, "values.")
    columns = [_finite(table, f"values.{name}").to_pylist() for name in names]
    rows = zip(*columns, strict=True) if names else [()] * table.num_rows
    return {
        "times": _required_times(table, "time"),
        "views": [view] * table.num_rows,
        "entities": [entity] * table.num_rows,
        "values": [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows],
        "revisions": _revisions(table),
    }


def _of_models(record: Record, n: int) -> dict[str, Any]:
    stream = _key(record)
    model = stream.partition("/")[0]
    if not _NAME.fullmatch(model):
        raise BadMessage(f"the key must be model or model/shard, got {stream!r}")
    return {"models": [model] * n, "streams": [stream] * n}


def _key(record: Record) -> str:
    if not record.key:
        raise BadMessage("a packed record needs a key: it names the model, or view/entity", at=record.position)
    return record.key.decode()


def _names(table: pa.Table, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in table.column_names if name.startswith(prefix)]


def _group(table: pa.Table, prefix: str) -> dict[str, Column]:
    return {name: _column(table, prefix + name) for name in _names(table, prefix)}


def _column(table: pa.Table, name: str) -> Column:
    kind = table.schema.field(name).type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        return _floats(table, name)
    if pa.types.is_timestamp(kind):
        raise BadMessage(f"column {name} holds times; a feature is a number, text or boolean")
    return objects(table.column(name).to_pylist())


def _finite(table: pa.Table, name: str) -> pa.ChunkedArray:
    found = table.column(name)
    if pa.types.is_floating(found.type) and not pc.all(pc.is_finite(found)).as_py() and found.null_count < len(found):
        raise BadMessage(f"column {name} holds NaN or infinity; what is missing is null")
    if pa.types.is_timestamp(found.type):
        raise BadMessage(f"column {name} holds times; allowed are number, text or boolean")
    return found


def _floats(table: pa.Table, name: str) -> FloatArray:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    found = table.column(name)
    if pa.types.is_timestamp(found.type):
        raise BadMessage(f"column {name} holds times; allowed are number, text or boolean")
    made: FloatArray = (found if found.type == pa.float64() else found.cast(pa.float64(), safe=False)).to_numpy()
    # numpy looks at a column of 256 in a quarter of Arrow's time; null has become NaN by now.
    if np.count_nonzero(np.isfinite(made)) != len(made) - found.null_count:
        raise BadMessage(f"column {name} holds NaN or infinity; what is missing is null")
    return made


def _texts(table: pa.Table, name: str) -> list[str | None]:
    if name not in table.column_names:
        return [None] * table.num_rows
    found = table.column(name)
    if not (pa.types.is_string(found.type) or pa.types.is_large_string(found.type) or pa.types.is_null(found.type)):
        raise BadMessage(f"column {name} must be text, got {found.type}")
    made: list[str | None] = found.to_pylist()
    return made


def _required(table: pa.Table, name: str) -> list[Any]:
    if name not in table.column_names or table.column(name).null_count:
        raise BadMessage(f"column {name} is required in every row")
    values: list[Any] = _finite(table, name).to_pylist()
    return values


def _ids(table: pa.Table, *, required: bool) -> list[Any]:
    values = _texts(table, "prediction_id")
    if any(not 1 <= len(value) <= MAX_ID if value is not None else required for value in values):
        raise BadMessage(f"column prediction_id needs 1 to {MAX_ID} characters in every row")
    return values


def _times(table: pa.Table, name: str) -> IntArray:
    if name not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.int64)
    found = table.column(name)
    if found.type not in (TIMESTAMP, pa.null()):
        raise BadMessage(f"column {name} must be {TIMESTAMP}, got {found.type}")
    made: IntArray = pc.fill_null(found.cast(TIMESTAMP).cast(pa.int64()), 0).to_numpy()
    return made


def _required_times(table: pa.Table, name: str) -> IntArray:
    if name not in table.column_names or table.column(name).null_count:
        raise BadMessage(f"column {name} is required in every row")
    return _times(table, name)


def _revisions(table: pa.Table) -> Any:
    if "revision" not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.int32)
    found = table.column("revision")
    if not (pa.types.is_integer(found.type) or pa.types.is_null(found.type)):
        raise BadMessage(f"column revision must be whole numbers, got {found.type}")
    made = pc.fill_null(found.cast(pa.int64()), 0).to_numpy()
    if len(made) and (made.min() < 0 or made.max() >= 2**31):
        raise BadMessage("revision must lie between 0 and 2^31 - 1")
    return made.astype(np.int32)
