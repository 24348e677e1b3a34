"""Rows as they were known at their time, from the history's tables: the point-in-time join.

A served prediction carries the features that the model saw, so they are taken from it. A prediction from before Driftloop
carries what its caller knew; what a view supplies is looked up as of the prediction's time (ASOF), never later.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from feature_store.domain import FromView, Wanted
from feature_store.rows import TIME

_PAIRS: Final = """
WITH asked AS (
    SELECT p.* FROM predictions p JOIN ends e ON e.topic = $predictions AND e.partition = p.partition AND p."offset" < e."end"
    WHERE p.variant IN ('history', 'champion') AND p.time <= $until AND ($since IS NULL OR p.time >= $since)
    QUALIFY row_number() OVER (PARTITION BY p.prediction_id ORDER BY p.partition, p."offset", p.row) = 1
), answered AS (
    SELECT o.*, coalesce(o.prediction_id, a.prediction_id) AS answers
    FROM outcomes o JOIN ends e ON e.topic = $outcomes AND e.partition = o.partition AND o."offset" < e."end"
    LEFT JOIN asked a ON o.prediction_id IS NULL AND a.entity = o.entity AND a.time = o.prediction_time
    WHERE o.observed_at <= $until
    QUALIFY row_number() OVER (PARTITION BY answers ORDER BY o.revision DESC, o.observed_at, o.event_id) = 1
)
SELECT a.prediction_id, a.time, o.observed_at AS outcome_time, o.value, o.text, a.variant, a.entity, a.features, a.keys,
       (SELECT count(*) FROM asked) AS asked
FROM asked a JOIN answered o ON o.answers = a.prediction_id
ORDER BY o.observed_at, a.prediction_id
"""
_ASOF: Final = """
WITH readings AS (
    SELECT entity, time, row_number() OVER () - 1 AS at, revision, partition, "offset", row FROM observations
), kept AS (
    SELECT * FROM readings
    QUALIFY row_number() OVER (PARTITION BY entity, time ORDER BY revision DESC, partition, "offset" DESC, row DESC) = 1
)
SELECT coalesce(k.at, -1) AS at, k.time AS time FROM wanted w ASOF LEFT JOIN kept k ON w.entity = k.entity AND w.time >= k.time
ORDER BY w.i
"""
_objects: Final = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Sources:
    """The rows of the three tables that may count: of the model, and of the views that it names."""

    predictions: pa.Table
    outcomes: pa.Table
    observations: dict[str, pa.Table]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows in order of their outcome, and how many predictions there were for them."""

    rows: pa.Table
    asked: int


def assemble(sources: Sources, wanted: Wanted) -> Dataset:
    """The dataset. The same sources give the same rows in the same order."""
    pairs = _pairs(sources, wanted)
    given = [_objects.decode(text) for text in pairs["features"].to_pylist()]
    history = np.array(pairs["variant"].to_pylist(), dtype=object) == "history"
    columns: dict[str, Sequence[Any]] = {name: [row.get(name) for row in given] for name in wanted.features}
    if history.any():
        keys = [_objects.decode(text) for text in pairs["keys"].to_pylist()]
        for name, source in wanted.from_views.items():
            then = _as_of(pairs, given, keys, source, sources.observations[source.view])
            columns[name] = [then[i] if history[i] else columns[name][i] for i in range(len(given))]
    fixed = [
        pairs["prediction_id"],
        pairs["time"].cast(TIME),
        pairs["outcome_time"].cast(TIME),
        _target(pairs, wanted.task),
    ]
    arrays = [*fixed, *(_typed(columns[name], name, kind) for name, kind in wanted.features.items())]
    table = pa.table(
        dict(zip(["prediction_id", "time", "outcome_time", "target", *wanted.features], arrays, strict=True))
    )
    if wanted.max_rows is not None and len(table) > wanted.max_rows:
        table = table.slice(len(table) - wanted.max_rows)
    return Dataset(table, int(pairs["asked"][0].as_py()) if len(pairs) else len(sources.predictions))


def parquet(rows: pa.Table) -> bytes:
    """The rows as Parquet: the same rows give the same bytes, so that their digest is their name."""
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd", row_group_size=65_536, store_schema=True)
    return sink.getvalue()


def _pairs(sources: Sources, wanted: Wanted) -> pa.Table:
    ends = pa.table(
        {
            "topic": [topic for topic, _ in wanted.ends],
            "partition": pa.array([partition for _, partition in wanted.ends], pa.int32()),
            "end": pa.array(list(wanted.ends.values()), pa.int64()),
        }
    )
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        for name, table in {"predictions": sources.predictions, "outcomes": sources.outcomes, "ends": ends}.items():
            db.register(name, table)
        moments = {"until": wanted.until_us, "since": wanted.since_us}
        named: dict[str, Any] = {
            name: None if at is None else pa.scalar(at, pa.timestamp("us")).cast(TIME).as_py()
            for name, at in moments.items()
        }
        named |= {"predictions": PREDICTIONS.name, "outcomes": OUTCOMES.name}
        return db.sql(_PAIRS, params=named).to_arrow_table()


def _as_of(pairs: pa.Table, given: list[Any], keys: list[Any], source: FromView, observations: pa.Table) -> list[Any]:
    """The view's value for each row as of its time, or `on_stale` where there is none young enough."""
    entities = [row.get(source.entity, key.get(source.entity)) for row, key in zip(given, keys, strict=True)]
    wanted = pa.table(
        {
            "i": pa.array(range(len(entities)), pa.int64()),
            "entity": pa.array([None if one is None else str(one) for one in entities], pa.string()),
            "time": pairs["time"].cast(TIME),
        }
    )
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("wanted", wanted)
        db.register("observations", observations)
        found = db.sql(_ASOF).to_arrow_table()
    at = found["at"].to_numpy()
    values = np.array(
        [_objects.decode(text).get(source.field) for text in observations["values"].to_pylist()] + [None], object
    )
    chosen: npt.NDArray[np.object_] = values[at]
    chosen[(at < 0) | _too_old(found["time"], wanted["time"], source.max_age_us)] = source.on_stale
    return chosen.tolist()  # type: ignore[no-any-return]  # a list of objects


def _too_old(known: pa.ChunkedArray, asked: pa.ChunkedArray, max_age_us: int | None) -> npt.NDArray[np.bool_]:
    if max_age_us is None:
        return np.zeros(len(asked), dtype=bool)
    age = (
        asked.cast(pa.int64()).to_numpy()
        - known.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).fill_null(0).to_numpy()
    )
    return age > max_age_us  # type: ignore[no-any-return]  # an array of booleans


def _target(pairs: pa.Table, task: str) -> pa.ChunkedArray:
    """0/1 as int8 for two classes, a double for regression, the class's name (or number) for several."""
    if task == "binary":
        return pairs["value"].cast(pa.int8())
    if task == "regression":
        return pairs["value"]
    return pairs["text"] if pairs["value"].null_count else pairs["value"]


def _typed(values: Sequence[Any], name: str, kind: str) -> pa.Array:
    try:
        if kind == "number":
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        if kind == "boolean":
            return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    except (ValueError, TypeError) as odd:
        raise ColumnOdd(f"feature {name} is declared a {kind}: {odd}") from odd


class ColumnOdd(Exception):  # a fact about data
    """A stored value is not what the declaration says."""


def quality(rows: pa.Table, features: Sequence[str]) -> list[dict[str, Any]]:
    """What a reader should know of each column before training on it."""
    found = []
    for name in features:
        column = rows[name]
        number = pa.types.is_floating(column.type) and column.null_count < len(column)
        least = pc.min_max(column) if number else None
        found.append(
            {
                "column": name,
                "nulls": column.null_count / max(1, len(column)),
                "minimum": least["min"].as_py() if least else None,
                "maximum": least["max"].as_py() if least else None,
                "distinct": pc.count_distinct(column).as_py(),
            }
        )
    return found


SOURCE_COLUMNS: Final = {
    PREDICTIONS.name: ["partition", "offset", "row", "time", "prediction_id", "variant", "entity", "features", "keys"],
    OUTCOMES.name: [
        "partition", "offset", "event_id", "observed_at", "prediction_id", "entity", "prediction_time", "value", "text",
        "revision",
    ],
    OBSERVATIONS.name: ["partition", "offset", "row", "time", "entity", "values", "revision"],
}  # fmt: skip
