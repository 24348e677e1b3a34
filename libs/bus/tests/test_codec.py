from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from driftloop_bus.codec import decode, encode
from driftloop_bus.errors import BadMessage
from driftloop_bus.ports import Headers, Outgoing, Record
from driftloop_contracts import AnyEvent, Cause, caused, first
from driftloop_contracts.control_plane import CommandGiven, CommandRefused
from driftloop_contracts.data_plane import ObservationMade, OutcomeObserved, PredictionMade

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def arrived(outgoing: Outgoing, offset: int = 7) -> Record:
    return Record(outgoing.topic, 0, offset, 1_700_000_000_000, outgoing.key, outgoing.value, outgoing.headers)


def bare(topic: str, value: bytes, headers: Headers = ()) -> Record:
    return Record(topic, 2, 41, 1_700_000_000_000, b"flight-delay", value, headers)


def a_prediction(**fields: Any) -> AnyEvent:
    data = PredictionMade(
        prediction_id="p-1", model="flight-delay", features={"distance": 500, "carrier": None}, **fields
    )
    return first(data, id="e-1", time=NOON)


def test_an_event_comes_back_as_it_went() -> None:
    event = caused(
        CommandRefused(model="m", command="freeze", reason="no such model"), Cause("c", NOON, "root", "acme")
    )
    back = decode(arrived(encode(event, "registry")))
    assert (back.id, back.time, back.data, back.causation) == (event.id, event.time, event.data, event.causation)
    assert (back.correlation, back.tenant, back.source) == ("root", "acme", "/services/registry")
    assert back.recorded_at is not None


def test_the_record_is_a_binary_cloudevent_without_what_is_absent() -> None:
    record = encode(a_prediction(version="3"), "serving")
    headers = {name: value.decode() for name, value in record.headers}
    assert (record.topic, record.key) == ("predictions.v1", b"flight-delay")
    assert b'"entity"' not in record.value
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_type"] == "driftloop.prediction.made.v1"
    assert headers["ce_time"] == "2013-07-01T12:00:00Z"
    assert headers["ce_subject"] == "flight-delay@3"
    assert headers["content-type"] == "application/json"


def test_a_service_writes_only_what_is_its_own() -> None:
    with pytest.raises(LookupError, match="monitor may not write CommandGiven"):
        encode(first(CommandGiven(command="freeze", model="m", given_by="a"), id="1", time=NOON), "monitor")


def test_what_is_too_large_goes_by_reference() -> None:
    with pytest.raises(ValueError, match="allowed 524288"):
        encode(a_prediction(entity="x" * 600_000), "serving")


def test_an_unknown_field_is_ignored() -> None:
    record = encode(a_prediction(), "serving")
    later = replace(record, value=record.value[:-1] + b',"invented_later":1}')
    assert decode(arrived(later)).data == decode(arrived(record)).data


def test_a_shell_script_may_write_json_without_headers() -> None:
    body = b'{"prediction_id":"p","model":"m","time":"2013-07-01T12:00:00+00:00"}'
    event, again = decode(bare("predictions.v1", body)), decode(bare("predictions.v1", body))
    other = decode(replace(bare("predictions.v1", body), offset=42))
    assert event.id == again.id != other.id
    assert event.time == NOON


def test_without_any_time_the_log_says_when() -> None:
    event = decode(bare("predictions.v1", b'{"prediction_id":"p","model":"m"}'))
    assert event.time == datetime.fromtimestamp(1_700_000_000, UTC)


def test_an_outcome_became_true_when_it_was_observed() -> None:
    data = OutcomeObserved(model="m", prediction_id="p", value=True, observed_at=NOON)
    event = first(data, id="1", time=datetime(2020, 1, 1, tzinfo=UTC))
    assert decode(arrived(encode(event, "monitor"))).time == NOON


def test_an_observation_became_true_at_its_own_time() -> None:
    data = ObservationMade(view="weather", entity="JFK", values={"temp": 1.0}, time=NOON)
    event = first(data, id="1", time=datetime(2020, 1, 1, tzinfo=UTC))
    assert decode(arrived(encode(event, "feature_store"))).time == NOON


CE = (("ce_id", b"1"), ("ce_type", b"driftloop.prediction.made.v1"))
ODD: dict[str, Record] = {
    "no JSON": bare("predictions.v1", b"{"),
    "a missing field": bare("predictions.v1", b'{"model":"m"}'),
    "NaN": bare("predictions.v1", b'{"prediction_id":"p","model":"m","features":{"x":NaN}}'),
    "infinity": bare("predictions.v1", b'{"prediction_id":"p","model":"m","features":{"x":1e999}}'),
    "text for a number": bare("predictions.v1", b'{"prediction_id":"p","model":"m","latency_ms":"3"}'),
    "a naive time": bare("predictions.v1", b'{"prediction_id":"p","model":"m","time":"2013-07-01T12:00:00"}'),
    "a tombstone": Record("predictions.v1", 0, 0, 0, b"m", None, CE),
    "no id": bare("predictions.v1", b"{}", CE[1:]),
    "an unknown type": bare("predictions.v1", b"{}", (("ce_id", b"1"), ("ce_type", b"driftloop.x.y.v1"))),
    "a type of another topic": bare("outcomes.v1", b"{}", CE),
    "no headers on a closed topic": bare("commands.v1", b'{"command":"freeze","model":"m","given_by":"x"}'),
    "headers that are no text": bare("predictions.v1", b"{}", (("ce_id", b"\xff"), CE[1])),
    "a header's time without offset": bare(
        "predictions.v1", b'{"prediction_id":"p","model":"m"}', (*CE, ("ce_time", b"2013-07-01T12:00:00"))
    ),
    "a header's time that is none": bare(
        "predictions.v1", b'{"prediction_id":"p","model":"m"}', (*CE, ("ce_time", b"noon"))
    ),
}


@pytest.mark.parametrize("oddity", ODD)
def test_what_is_odd_is_a_bad_message_and_says_where(oddity: str) -> None:
    with pytest.raises(BadMessage) as caught:
        decode(ODD[oddity])
    assert caught.value.at == ODD[oddity].position
