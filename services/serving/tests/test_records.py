"""A prediction's record is the one that the codec makes of the event."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from driftloop_bus.codec import decode, encode
from driftloop_bus.ports import Outgoing, Record
from driftloop_contracts.data_plane import PredictionMade
from serving.records import Prediction, Recorder

AT = datetime(2013, 6, 19, 12, tzinfo=UTC)
FULL = Prediction(
    id="p1",
    time=AT + timedelta(microseconds=7),
    features={"wind": 3, "origin": "é", "storm": True, "gust": None, "temp": 0.1},
    score=0.25,
    prediction=False,
    entity="AA1",
    keys={"tailnum": "N1", "none": None},
    segment={"origin": None},
    latency_ms=0.5,
    feature_times={"weather": AT},
)
CASES = {
    "full": FULL,
    "classes": replace(FULL, score=[0.5, 0.25, 0.25], prediction="b"),
    "no entity": replace(FULL, entity=None, keys={}, feature_times={}),
    "value": replace(FULL, score=-1e-9, prediction=-1e-9),
}


@pytest.mark.parametrize("made", CASES.values(), ids=CASES.keys())
def test_it_is_what_the_codec_writes_and_reads(made: Prediction) -> None:
    ours = Recorder("late", "2", "shadow").record(made, "2013-06-19T12:00:01Z")
    event = decode(as_read(ours))
    theirs = encode(event, "serving")
    assert as_dict(ours) == as_dict(theirs)
    assert PredictionMade.model_validate_json(ours.value) == PredictionMade.model_validate_json(theirs.value)
    assert event.data.model_dump(exclude={"features", "keys", "segment"}) == PredictionMade(
        prediction_id=made.id,
        model="late",
        version="2",
        variant="shadow",
        score=made.score,
        prediction=made.prediction,
        entity=made.entity,
        latency_ms=made.latency_ms,
        feature_times=dict(made.feature_times),
        served_at=AT + timedelta(seconds=1),
    ).model_dump(exclude={"features", "keys", "segment"})
    assert event.data.features == {name: value for name, value in made.features.items() if value is not None}


def as_read(record: Outgoing) -> Record:
    return Record(record.topic, 0, 0, 0, record.key, record.value, record.headers)


def as_dict(record: Outgoing) -> dict[str, Any]:
    return {"topic": record.topic, "key": record.key, "headers": record.headers, "value": record.value}
