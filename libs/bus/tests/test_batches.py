from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from driftloop_bus.batches import ObservationBatch, OutcomeBatch, PredictionBatch
from driftloop_bus.codec import decode, encode, headers_of
from driftloop_bus.envelope import ARROW, microseconds
from driftloop_bus.errors import BadMessage
from driftloop_bus.packing import pack, pack_columns
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.reading import derived_row_ids, read_batch
from driftloop_contracts import AnyEvent, Fact, derived_id, first
from driftloop_contracts.data_plane import ObservationMade, OutcomeObserved, PredictionMade

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def log(*outgoing: Outgoing) -> list[Record]:
    return [
        Record(one.topic, 3, 100 + place, 1_700_000_000_000, one.key, one.value, one.headers)
        for place, one in enumerate(outgoing)
    ]


def prediction(name: str, model: str = "m", seconds: int = 0, **fields: Any) -> AnyEvent:
    data = PredictionMade(prediction_id=name, model=model, **fields)
    return first(data, id=f"event-{name}", time=NOON + timedelta(seconds=seconds))


def outcome(name: str, value: Any, model: str = "m", **fields: Any) -> AnyEvent:
    data = OutcomeObserved(prediction_id=name, model=model, value=value, observed_at=NOON, **fields)
    return first(data, id=f"outcome-{name}", time=NOON)


def observation(entity: str, **values: Any) -> AnyEvent:
    return first(ObservationMade(view="weather", entity=entity, values=values, time=NOON), id=f"o-{entity}", time=NOON)


def packed(events: list[AnyEvent], service: str = "serving") -> Outgoing:
    single = encode(events[0], service)
    return Outgoing(single.topic, single.key, pack(events), headers_of(replace(events[0], id="pack"), service, ARROW))


def predictions_in(records: list[Record]) -> PredictionBatch:
    batch, bad = read_batch(records)
    assert bad == []
    assert isinstance(batch, PredictionBatch)
    return batch


def test_json_records_become_columns() -> None:
    events = [
        prediction("a", features={"x": 1, "carrier": "AA"}, score=0.25, version="1", entity="JFK", keys={"k": 7}),
        prediction("b", seconds=5, features={"x": 2.5, "late": True}, latency_ms=3.0, feature_times={"weather": NOON}),
    ]
    batch = predictions_in(log(*(encode(event, "serving") for event in events)))
    assert len(batch) == 2
    assert batch.event_ids == ["event-a", "event-b"]
    assert batch.offsets.tolist() == [100, 101]
    assert batch.times.tolist() == [microseconds(NOON), microseconds(NOON) + 5_000_000]
    assert batch.features["x"].tolist() == [1.0, 2.5]
    assert batch.features["x"].dtype == np.float64
    assert batch.features["carrier"].tolist() == ["AA", None]
    assert batch.features["late"].tolist() == [None, True]
    assert np.isnan(batch.scores).tolist() == [False, True]
    assert batch.versions == ["1", None]
    assert batch.entities == ["JFK", None]
    assert batch.feature_times["weather"].tolist() == [0, microseconds(NOON)]


def test_packed_rows_are_what_the_same_events_are_as_json() -> None:
    events = [
        prediction(f"p{row}", seconds=row, features={"x": row / 3, "carrier": "AA"}, score=0.5, version="2",
                   segment={"origin": "JFK"}, feature_times={"weather": NOON}, prediction=True)
        for row in range(20)
    ]  # fmt: skip
    rows, single = predictions_in(log(packed(events))), predictions_in(log(*(encode(e, "serving") for e in events)))
    assert rows.event_ids == derived_row_ids("pack", 20) == [derived_id("pack", str(row)) for row in range(20)]
    assert rows.rows.tolist() == list(range(20))
    assert set(rows.offsets.tolist()) == {100}
    for name in ("prediction_ids", "models", "streams", "versions", "variants", "entities", "predictions"):
        assert getattr(rows, name) == getattr(single, name), name
    for name in ("times", "scores"):
        assert getattr(rows, name).tolist() == getattr(single, name).tolist(), name
    for group in ("features", "segments", "feature_times"):
        assert {k: v.tolist() for k, v in getattr(rows, group).items()} == {
            k: v.tolist() for k, v in getattr(single, group).items()
        }


def test_json_and_packed_records_join_in_log_order() -> None:
    many = [prediction(f"p{row}", features={"x": float(row), "only": "packed"}) for row in range(3)]
    records = log(
        encode(prediction("first", features={"x": 9}), "serving"),
        packed(many),
        encode(prediction("last", features={"y": 1}), "serving"),
    )
    batch = predictions_in(records)
    assert batch.prediction_ids == ["first", "p0", "p1", "p2", "last"]
    assert batch.offsets.tolist() == [100, 101, 101, 101, 102]
    assert batch.features["x"][:4].tolist() == [9.0, 0.0, 1.0, 2.0]
    assert np.isnan(batch.features["x"][4])
    assert batch.features["only"].tolist() == [None, "packed", "packed", "packed", None]


def test_rows_can_be_taken_and_told_apart_by_model() -> None:
    names = [("a", "m"), ("b", "n"), ("c", "m")]
    batch = predictions_in(
        log(*(encode(prediction(name, model, features={"x": 1}), "serving") for name, model in names))
    )
    assert {model: part.prediction_ids for model, part in batch.by_model().items()} == {"m": ["a", "c"], "n": ["b"]}
    assert batch.take(np.array([False, True, True])).prediction_ids == ["b", "c"]
    assert batch.take([2, 0]).offsets.tolist() == [102, 100]
    assert batch.take([]).prediction_ids == []


def test_a_row_is_a_cause() -> None:
    cause = predictions_in(log(encode(prediction("a", seconds=2), "serving"))).cause(0)
    assert (cause.id, cause.time, cause.tenant) == ("event-a", NOON + timedelta(seconds=2), "default")


def test_outcomes_become_numbers() -> None:
    events = [outcome("a", True), outcome("b", False), outcome("c", 2.5), outcome("d", "late", variant="history")]
    batch, bad = read_batch(log(*(encode(event, "monitor") for event in events)))
    assert isinstance(batch, OutcomeBatch)
    assert bad == []
    assert batch.values[:3].tolist() == [1.0, 0.0, 2.5]
    assert np.isnan(batch.values[3])
    assert batch.texts == [None, None, None, "late"]
    assert batch.variants == [None, None, None, "history"]


def test_packed_outcomes_and_observations_are_read() -> None:
    made, bad = read_batch(log(packed([outcome(f"p{row}", row % 2 == 0) for row in range(4)], "monitor")))
    assert isinstance(made, OutcomeBatch)
    assert (made.values.tolist(), made.prediction_ids, bad) == ([1.0, 0.0, 1.0, 0.0], ["p0", "p1", "p2", "p3"], [])
    seen, bad = read_batch(log(packed([observation("JFK", temp=1.0), observation("JFK", wind=2.0)], "feature_store")))
    assert isinstance(seen, ObservationBatch)
    assert (seen.values, seen.entities, bad) == ([{"temp": 1.0}, {"wind": 2.0}], ["JFK", "JFK"], [])


def test_observations_become_rows() -> None:
    batch, bad = read_batch(log(encode(observation("JFK", temp=1.5, sky="clear"), "feature_store")))
    assert isinstance(batch, ObservationBatch)
    assert (batch.views, batch.entities, batch.values) == (["weather"], ["JFK"], [{"temp": 1.5, "sky": "clear"}])
    assert bad == []


def test_bad_records_are_named_and_the_rest_is_read() -> None:
    good = encode(prediction("a"), "serving")
    huge = json.dumps({"prediction_id": "p", "model": "m", "features": {"x": 10**400}}).encode()
    records = log(good, replace(good, value=b"{"), good, Outgoing("predictions.v1", b"m", huge), good)
    batch, bad = read_batch(records)
    assert batch is not None
    assert batch.offsets.tolist() == [100, 102, 104]
    assert [error.at.offset for error in bad if error.at] == [101, 103]


def test_nothing_good_is_no_batch() -> None:
    batch, bad = read_batch(log(Outgoing("predictions.v1", b"m", b"nonsense")))
    assert batch is None
    assert len(bad) == 1


NOW_TYPE: Any = np.array([0], dtype="datetime64[us]")
BAD_COLUMNS: dict[str, dict[str, Any]] = {
    "no time": {"prediction_id": ["a"]},
    "no id": {"time": [NOON]},
    "a row without id": {"prediction_id": ["a", None], "time": [NOON, NOON]},
    "an empty id": {"prediction_id": [""], "time": [NOON]},
    "a row without time": {"prediction_id": ["a", "b"], "time": [NOON, None]},
    "NaN": {"prediction_id": ["a"], "time": [NOON], "features.x": [float("nan")]},
    "infinity": {"prediction_id": ["a"], "time": [NOON], "score": [float("inf")]},
    "a time as a feature": {"prediction_id": ["a"], "time": [NOON], "features.x": NOW_TYPE},
    "a number as a version": {"prediction_id": ["a"], "time": [NOON], "version": [1]},
}


@pytest.mark.parametrize("what", BAD_COLUMNS)
def test_one_bad_row_makes_its_packed_record_bad(what: str) -> None:
    headers = headers_of(prediction("a"), "serving", ARROW)
    batch, bad = read_batch(log(Outgoing("predictions.v1", b"m", pack_columns(BAD_COLUMNS[what]), headers)))
    assert batch is None
    assert isinstance(bad[0], BadMessage)
    assert bad[0].at is not None


@pytest.mark.parametrize("key", [None, b"", b"/shard", b"\xff", b"two words"])
def test_a_packed_record_needs_a_key_that_names_its_model(key: bytes | None) -> None:
    batch, bad = read_batch(log(replace(packed([prediction("a")]), key=key)))
    assert batch is None
    assert len(bad) == 1


BODIES: list[tuple[type[Fact], str, bytes]] = [
    (PredictionMade, "predictions.v1", body)
    for body in (
        b'{"prediction_id":"p","model":"m"}',
        b'{"prediction_id":"p","model":"m","features":{"a":1,"b":2.5,"c":"x","d":true,"e":null},"score":1}',
        b'{"prediction_id":"p","model":"m","score":[0.1,0.9],"new_field":{"deep":[1]}}',
        b'{"prediction_id":"p","model":"m","time":"2013-07-01T12:00:00.123456-04:00"}',
        b'{"prediction_id":"","model":"m"}',
        b'{"prediction_id":"p","model":"two words"}',
        b'{"prediction_id":"p","model":"m","score":"0.5"}',
        b'{"prediction_id":"p","model":"m","score":true}',
        b'{"prediction_id":5,"model":"m"}',
        b'{"prediction_id":"p","model":"m","features":{"a":[1]}}',
        b'{"prediction_id":"p","model":"m","features":{"a":NaN}}',
        b'{"prediction_id":"p","model":"m","features":{"a":Infinity}}',
        b'{"prediction_id":"p","model":"m","features":{"a":1e999}}',
        b'{"prediction_id":"p","model":"m","time":"2013-07-01T12:00:00"}',
        b'{"prediction_id":"p","model":"m","time":1700000000}',
        b'{"prediction_id":"p","model":"m","entity":null}',
        b'{"prediction_id":"p","model":null}',
        b'{"prediction_id":"\xff","model":"m"}',
        b"[]",
        b"",
    )
] + [
    (OutcomeObserved, "outcomes.v1", body)
    for body in (
        b'{"model":"m","prediction_id":"p","value":true,"observed_at":"2013-07-01T12:00:00Z"}',
        b'{"model":"m","prediction_id":"p","value":"late","observed_at":"2013-07-01T12:00:00Z","revision":3}',
        b'{"model":"m","prediction_id":"p","value":null,"observed_at":"2013-07-01T12:00:00Z"}',
        b'{"model":"m","prediction_id":"p","value":1,"observed_at":"2013-07-01T12:00:00Z","revision":-1}',
        b'{"model":"m","prediction_id":"p","value":1}',
    )
] + [
    (ObservationMade, "observations.v1", body)
    for body in (
        b'{"view":"w","entity":"JFK","values":{"t":1.5,"s":null},"time":"2013-07-01T12:00:00Z"}',
        b'{"view":"w","entity":"","values":{},"time":"2013-07-01T12:00:00Z"}',
        b'{"view":"w","entity":"JFK","values":{"t":{}},"time":"2013-07-01T12:00:00Z"}',
    )
]  # fmt: skip


@pytest.mark.parametrize(("fact", "topic", "body"), BODIES)
def test_arrays_and_objects_accept_and_refuse_the_same(fact: type[Fact], topic: str, body: bytes) -> None:
    record = Record(topic, 0, 0, 0, b"m", body, (("ce_id", b"1"), ("ce_type", fact.TYPE.encode())))
    try:
        event: AnyEvent | None = decode(record)
    except BadMessage:
        event = None
    batch, bad = read_batch([record])
    assert (event is None) == (batch is None) == bool(bad)
    if event is not None and batch is not None:
        assert batch.times.tolist() == [microseconds(event.time)]


def test_typed_structs_have_the_fields_of_their_facts() -> None:
    from driftloop_bus.typed_json import Observation, Outcome, Prediction

    for struct, fact in ((Prediction, PredictionMade), (Outcome, OutcomeObserved), (Observation, ObservationMade)):
        assert {field.name for field in msgspec.structs.fields(struct)} == set(fact.model_fields)
