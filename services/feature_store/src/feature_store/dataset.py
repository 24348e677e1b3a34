"""Rows as they were known at their time, from the history's tables: the point-in-time join.

A served prediction carries the features that the model saw, so they are taken from it. A prediction from before Driftloop
carries what its caller knew; what a view supplies is looked up as of the prediction's time (ASOF), never later.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from feature_store.columns import ColumnOdd, scalar, typed_columns
from feature_store.domain import FromView, Wanted
from feature_store.rows import TIME

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Joins of other jobs, and whoever else lives on this machine, get their share.
THREADS: Final = 2
_ASKED: Final = """
CREATE TEMP TABLE asked AS
SELECT p.* FROM predictions p JOIN ends e ON e.topic = $topic AND e.partition = p.partition AND p."offset" < e."end"
WHERE p.variant IN ('history', 'champion') AND p.time <= $until AND ($since IS NULL OR p.time >= $since)
QUALIFY row_number() OVER (PARTITION BY p.prediction_id ORDER BY p.partition, p."offset", p.row) = 1
"""
_PAIRS: Final = """
WITH answered AS (
    SELECT o.*, coalesce(o.prediction_id, a.prediction_id) AS answers
    FROM outcomes o JOIN ends e ON e.topic = $topic AND e.partition = o.partition AND o."offset" < e."end"
    LEFT JOIN asked a ON o.prediction_id IS NULL AND a.entity = o.entity AND a.time = o.prediction_time
    WHERE o.observed_at <= $until
    QUALIFY row_number() OVER (PARTITION BY answers ORDER BY o.revision DESC, o.observed_at, o.event_id) = 1
)
SELECT a.prediction_id, a.time, o.observed_at AS outcome_time, o.value, o.text, a.variant, a.features, a.keys
FROM asked a JOIN answered o ON o.answers = a.prediction_id
ORDER BY o.observed_at, a.prediction_id
"""
_ASOF: Final = """
WITH kept AS (
    SELECT * FROM readings
    QUALIFY row_number() OVER (PARTITION BY entity, time ORDER BY revision DESC, partition, "offset" DESC, row DESC) = 1
)
SELECT k.at AS at, k.time AS time FROM wanted w ASOF LEFT JOIN kept k ON w.entity = k.entity AND w.time >= k.time
ORDER BY w.i
"""


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
    answered: int
    """How many of them had an outcome; more than the rows where the newest alone were wanted."""


def assemble(sources: Sources, wanted: Wanted) -> Dataset:
    """The dataset. The same sources give the same rows in the same order. Raises ColumnOdd."""
    pairs, asked = _pairs(sources, wanted)
    columns = _columns(sources, wanted, pairs)
    rows = pa.table(
        {
            "prediction_id": pairs["prediction_id"],
            "time": pairs["time"].cast(TIME),
            "outcome_time": pairs["outcome_time"].cast(TIME),
            "target": _target(pairs, wanted.task),
            **{name: columns[name] for name in wanted.features},
        }
    )
    answered = len(rows)
    if wanted.max_rows is not None and answered > wanted.max_rows:
        rows = rows.slice(answered - wanted.max_rows)
    return Dataset(rows, asked, answered)


def parquet(rows: pa.Table) -> bytes:
    """The rows as Parquet: the same rows give the same bytes, so that their digest is their name."""
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd", row_group_size=65_536, store_schema=True)
    return sink.getvalue()


def _pairs(sources: Sources, wanted: Wanted) -> tuple[pa.Table, int]:
    """Each prediction that has an outcome, with it, in order of the outcomes; and how many predictions there were."""
    ends = pa.table(
        {
            "topic": [topic for topic, _ in wanted.ends],
            "partition": pa.array([partition for _, partition in wanted.ends], pa.int32()),
            "end": pa.array(list(wanted.ends.values()), pa.int64()),
        }
    )
    until = _moment(wanted.until_us)
    since = None if wanted.since_us is None else _moment(wanted.since_us)
    tables = {"predictions": sources.predictions, "outcomes": sources.outcomes, "ends": ends}
    with _database(tables) as db:
        db.execute(_ASKED, {"topic": PREDICTIONS.name, "until": until, "since": since})
        [(asked,)] = db.sql("SELECT count(*) FROM asked").fetchall()
        return db.sql(_PAIRS, params={"topic": OUTCOMES.name, "until": until}).to_arrow_table(), asked


def _columns(sources: Sources, wanted: Wanted, pairs: pa.Table) -> dict[str, pa.Array]:
    """The features: as the model saw them where it was served, else what was known then."""
    keys = {source.entity for source in wanted.from_views.values()} - set(wanted.features)
    given = typed_columns(pairs["features"], {**wanted.features, **dict.fromkeys(keys, "category")})
    history = pc.equal(pairs["variant"], "history").combine_chunks()
    if not pc.any(history).as_py():
        return given
    for (view, entity), features in _grouped(wanted.from_views).items():
        known = _AsOf.of(_entities(pairs, given, wanted, entity), pairs["time"].cast(TIME), sources.observations[view])
        kinds = {source.field: wanted.features[name] for name, source in features.items()}
        values = typed_columns(sources.observations[view]["values"], kinds)
        for name, source in features.items():
            then = known.value(values[source.field], source, wanted.features[name])
            given[name] = pc.if_else(history, then, given[name])
    return given


def _grouped(from_views: Mapping[str, FromView]) -> dict[tuple[str, str], dict[str, FromView]]:
    """Features that one lookup serves."""
    groups: dict[tuple[str, str], dict[str, FromView]] = {}
    for name, source in from_views.items():
        groups.setdefault((source.view, source.entity), {})[name] = source
    return groups


def _entities(pairs: pa.Table, given: Mapping[str, pa.Array], wanted: Wanted, entity: str) -> pa.Array:
    """Each row's entity as text, from its features or its join keys."""
    found = given.get(entity)
    if found is None or wanted.features.get(entity, "category") != "category":
        found = typed_columns(pairs["features"], {entity: "category"})[entity]
    if found.null_count:
        found = pc.coalesce(found, typed_columns(pairs["keys"], {entity: "category"})[entity])
    return found


@dataclass(frozen=True, slots=True)
class _AsOf:
    """Which reading was the newest for each row, and how old it was."""

    at: pa.Array
    """Place among the observations; null where there was none."""
    age_us: pa.Array

    @classmethod
    def of(cls, entities: pa.Array, times: pa.ChunkedArray, observations: pa.Table) -> _AsOf:
        places = pa.array(range(len(observations)), pa.int64())
        readings = observations.drop_columns(["values"]).append_column("at", places)
        rows = pa.array(range(len(entities)), pa.int64())
        wanted = pa.table({"i": rows, "entity": entities, "time": times})
        with _database({"wanted": wanted, "readings": readings}) as db:
            found = db.sql(_ASOF).to_arrow_table()
        age = pc.subtract(times.cast(pa.int64()), found["time"].cast(TIME).cast(pa.int64()))
        return cls(found["at"].combine_chunks(), age)

    def value(self, column: pa.Array, source: FromView, kind: str) -> pa.Array:
        """The value of each row then; `on_stale` where there was none young enough."""
        then = pc.take(column, self.at)
        old = pc.is_null(self.at)
        if source.max_age_us is not None:
            old = pc.or_(old, pc.fill_null(pc.greater(self.age_us, source.max_age_us), True))
        return pc.if_else(old, scalar(source.on_stale, source.field, kind), then)


def _database(tables: Mapping[str, pa.Table]) -> DuckDBPyConnection:
    import duckdb  # only a dataset needs it

    db = duckdb.connect()
    db.execute(f"SET TimeZone = 'UTC'; SET threads = {THREADS}")
    for name, table in tables.items():
        db.register(name, table)
    return db


def _moment(at_us: int) -> Any:
    return pa.scalar(at_us, pa.timestamp("us")).cast(TIME).as_py()


def _target(pairs: pa.Table, task: str) -> pa.ChunkedArray:
    """0/1 as int8 for two classes, a double for regression, the class's name (or number) for several."""
    value, text = pairs["value"], pairs["text"]
    if task == "multiclass" and value.null_count:
        return _checked(text, text, "the outcomes are numbers and texts; the classes of a model are one or the other")
    found = _checked(value, text, f"task {task} needs a number or a boolean as outcome")
    if task != "binary":
        return found
    odd = pc.filter(found, pc.invert(pc.is_in(found, pa.array([0.0, 1.0]))))
    if len(odd):
        raise ColumnOdd(f"task binary needs outcomes of 0 or 1 (or false, true); one is {odd[0].as_py():g}")
    return found.cast(pa.int8())


def _checked(found: pa.ChunkedArray, text: pa.ChunkedArray, reason: str) -> pa.ChunkedArray:
    if found.null_count:
        seen = pc.unique(text.drop_null())[:3].to_pylist()
        raise ColumnOdd(f"{reason}; among them are {seen}")
    return found


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
