"""A dataset holds rows as they were known at their time: nothing later, nothing twice, the same bytes each time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from feature_store.columns import ColumnOdd
from feature_store.dataset import Sources, assemble, parquet
from feature_store.domain import FromView, Wanted
from feature_store.rows import SCHEMAS

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000


def hour(n: float) -> datetime:
    return START + timedelta(hours=n)


def us(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def rows(topic: str, *given: dict[str, Any]) -> pa.Table:
    blank = {"event_id": "e", "partition": 0, "offset": 0, "row": 0, "model": "m", "revision": 0, "view": "weather"}
    return pa.Table.from_pylist([{**blank, **row} for row in given], schema=SCHEMAS[topic])


def asked(name: str, at: float, offset: int = 0, **more: Any) -> dict[str, Any]:
    features = {"x": 1.0, "origin": "EWR"}
    plain = {
        "prediction_id": name,
        "time": hour(at),
        "variant": "history",
        "features": json.dumps(features),
        "keys": "{}",
    }
    return {**plain, "offset": offset, **more}


def answered(name: str, at: float, value: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"prediction_id": name, "observed_at": hour(at), "value": value, **more}


def read(at: float, wind: float | None, **more: Any) -> dict[str, Any]:
    return {"entity": "EWR", "time": hour(at), "values": json.dumps({"wind": wind}), **more}


def sources(predictions: list[Any], outcomes: list[Any], observations: list[Any] | None = None) -> Sources:
    return Sources(
        rows("predictions.v1", *predictions),
        rows("outcomes.v1", *outcomes),
        {"weather": rows("observations.v1", *(observations or []))},
    )


def wanted(**more: Any) -> Wanted:
    given: dict[str, Any] = {
        "model": "m",
        "task": "binary",
        "features": {"x": "number", "origin": "category", "wind": "number"},
        "from_views": {"wind": FromView("weather", "origin", "wind", 4 * HOUR_US, None)},
        "since_us": None,
        "until_us": us(hour(100)),
        "ends": {("predictions.v1", 0): 1000, ("outcomes.v1", 0): 1000},
        "max_rows": None,
    }
    return Wanted(**given | more)


def test_a_view_is_read_as_of_the_prediction_never_later() -> None:
    made = assemble(sources([asked("a", 10)], [answered("a", 15)], [read(9, 5.0), read(11, 7.0)]), wanted())
    assert made.rows.to_pylist() == [
        {
            "prediction_id": "a",
            "time": hour(10),
            "outcome_time": hour(15),
            "target": 1,
            "x": 1.0,
            "origin": "EWR",
            "wind": 5.0,
        }
    ]


def test_a_reading_that_is_too_old_is_null() -> None:
    made = assemble(sources([asked("a", 10)], [answered("a", 15)], [read(5.9, 5.0)]), wanted())
    assert made.rows["wind"].to_pylist() == [None]


def test_a_corrected_reading_replaces_the_one_it_corrects() -> None:
    corrected = [read(9, 5.0, offset=1), read(9, 6.0, offset=2, revision=1), read(9, 5.5, offset=3)]
    made = assemble(sources([asked("a", 10)], [answered("a", 15)], corrected), wanted())
    assert made.rows["wind"].to_pylist() == [6.0]


def test_a_served_prediction_keeps_the_features_that_the_model_saw() -> None:
    served = asked("a", 10, variant="champion", features=json.dumps({"x": 2.0, "origin": "EWR", "wind": 9.0}))
    made = assemble(sources([served], [answered("a", 15)], [read(9, 5.0)]), wanted())
    assert made.rows["wind"].to_pylist() == [9.0]


def test_shadows_are_no_rows() -> None:
    pair = [asked("a", 10), asked("a", 10, offset=1, variant="shadow")]
    assert len(assemble(sources(pair, [answered("a", 15)]), wanted()).rows) == 1


def test_a_row_delivered_twice_counts_once() -> None:
    twice = [asked("a", 10), asked("a", 10, offset=7)]
    assert len(assemble(sources(twice, [answered("a", 15), answered("a", 15, offset=9)]), wanted()).rows) == 1


def test_the_last_revision_of_an_outcome_counts() -> None:
    made = assemble(sources([asked("a", 10)], [answered("a", 15, 1.0), answered("a", 16, 0.0, revision=1)]), wanted())
    assert made.rows["target"].to_pylist() == [0]


def test_what_lies_beyond_the_named_offsets_or_the_until_does_not_count() -> None:
    given = sources([asked("a", 10), asked("b", 11, offset=1000)], [answered("a", 15), answered("b", 16)])
    made = assemble(given, wanted())
    assert made.rows["prediction_id"].to_pylist() == ["a"]
    assert len(assemble(given, wanted(until_us=us(hour(12)))).rows) == 0


def test_an_outcome_without_an_id_finds_its_prediction_by_entity_and_time() -> None:
    answer = {**answered("a", 15), "prediction_id": None, "entity": "flight 1", "prediction_time": hour(10)}
    made = assemble(sources([asked("a", 10, entity="flight 1"), asked("b", 10, entity="flight 2")], [answer]), wanted())
    assert made.rows["prediction_id"].to_pylist() == ["a"]
    assert made.asked == 2


def test_the_same_rows_in_any_order_of_the_tables_give_the_same_bytes() -> None:
    predictions = [asked(name, at) for at, name in enumerate("abcdef")]
    outcomes = [answered(name, 20 - at) for at, name in enumerate("abcdef")]
    forwards = assemble(sources(predictions, outcomes), wanted())
    backwards = assemble(sources(predictions[::-1], outcomes[::-1]), wanted())
    assert forwards.rows["prediction_id"].to_pylist() == list("fedcba")
    assert parquet(forwards.rows) == parquet(backwards.rows)


def test_a_value_of_another_type_is_refused_by_name() -> None:
    odd = asked("a", 10, features=json.dumps({"x": "many", "origin": "EWR"}))
    with pytest.raises(ColumnOdd, match="feature x is declared a number"):
        assemble(sources([odd], [answered("a", 15)]), wanted())
