"""Logging on a real Kafka: what was logged is there, once, whatever happened to the broker meanwhile."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

import driftloop
from driftloop_bus.batches import ObservationBatch, OutcomeBatch, PredictionBatch
from driftloop_bus.envelope import open_envelope
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Record
from driftloop_bus.reading import read_batch
from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack
NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def a_name() -> str:
    return f"m-{uuid.uuid4().hex[:8]}"


async def records_of(kafka: str, topic: str, key: str, rows: int) -> list[Record]:
    """The topic's records under the key, once they hold so many rows."""
    found: list[Record] = []
    async with asyncio.timeout(30):
        async for record in everything(kafka, topic):
            if record.key == key.encode():
                found.append(record)
                if rows_of(found) >= rows:
                    return found
    raise AssertionError("the log has no end")


async def everything(kafka: str, topic: str) -> AsyncIterator[Record]:
    log = KafkaLog(kafka, "client-tests")
    try:
        consumer = await log.consumer([topic], None, _nothing, _nothing)
        while True:
            for piece in await consumer.poll(1_000, 100):
                for record in piece.records:
                    yield record
    finally:
        await log.close()


async def _nothing(places: object) -> None:
    return


def rows_of(records: Sequence[Record]) -> int:
    batch, bad = read_batch(records)
    assert bad == []
    return len(batch) if batch is not None else 0


async def test_three_lines_log_a_prediction_and_its_outcome(kafka: str) -> None:
    model = a_name()
    with driftloop.Producer("shop", kafka) as log:
        asked = log.prediction(model, features={"amount": 12.5, "country": "NO"}, version="3", score=0.08, time=NOON)
        log.outcome(model, asked, value=False, at=NOON)
    (prediction,) = await records_of(kafka, "predictions.v1", model, 1)
    (outcome,) = await records_of(kafka, "outcomes.v1", model, 1)
    made, bad = read_batch([prediction])
    came, worse = read_batch([outcome])
    assert (bad, worse) == ([], [])
    assert isinstance(made, PredictionBatch)
    assert isinstance(came, OutcomeBatch)
    assert made.prediction_ids == came.prediction_ids == [asked]
    assert made.versions == ["3"]
    assert made.features["amount"][0] == 12.5
    assert made.features["country"][0] == "NO"
    assert came.values[0] == 0.0
    assert dict(prediction.headers)["ce_source"] == b"/producers/shop"
    assert dict(prediction.headers)["ce_time"] == b"2013-07-01T12:00:00Z"
    assert prediction.partition == outcome.partition, "one monitor sees both halves of a pair"


async def test_an_observation_is_logged_under_its_view_and_entity(kafka: str) -> None:
    view = a_name()
    with driftloop.Producer("station", kafka) as log:
        log.observation(view, "EWR", {"temp": 39.5, "wind": None}, at=NOON)
    batch, bad = read_batch(await records_of(kafka, "observations.v1", f"{view}/EWR", 1))
    assert bad == []
    assert isinstance(batch, ObservationBatch)
    assert batch.values == [{"temp": 39.5, "wind": None}]


async def test_many_rows_of_a_key_travel_in_few_records(kafka: str) -> None:
    model = a_name()
    with driftloop.Producer("shop", kafka) as log:
        asked = [log.prediction(model, {"row": row}) for row in range(1_000)]
    records = await records_of(kafka, "predictions.v1", model, 1_000)
    assert len(records) < 100
    batch, bad = read_batch(records)
    assert isinstance(batch, PredictionBatch)
    assert bad == []
    assert batch.prediction_ids == asked, "in the order in which they were logged"


async def test_several_threads_may_log(kafka: str) -> None:
    model = a_name()
    with driftloop.Producer("shop", kafka) as log, ThreadPoolExecutor(4) as threads:
        asked = list(threads.map(lambda row: log.prediction(model, {"row": row}), range(400)))
        log.flush()
        batch, _ = read_batch(await records_of(kafka, "predictions.v1", model, 400))
    assert isinstance(batch, PredictionBatch)
    assert Counter(batch.prediction_ids) == Counter(asked)


async def test_what_is_logged_twice_has_one_id(kafka: str) -> None:
    model, view = a_name(), a_name()
    with driftloop.Producer("shop", kafka) as log:
        for _ in range(2):
            log.prediction(model, {"amount": 1}, prediction_id="p1", version="3", time=NOON)
            log.outcome(model, "p1", value=True, at=NOON)
            log.observation(view, "EWR", {"temp": 39.5}, at=NOON)
            log.flush()
    for topic, key in (("predictions.v1", model), ("outcomes.v1", model), ("observations.v1", f"{view}/EWR")):
        ids = [open_envelope(record).id for record in await records_of(kafka, topic, key, 2)]
        assert len(set(ids)) == 1, topic


WRONG: dict[str, tuple[Callable[[driftloop.Producer], Any], str]] = {
    "not a number": (lambda log: log.prediction("m", {"amount": math.nan}), "finite number"),
    "a name that is none": (lambda log: log.prediction("a model", {"amount": 1}), "should match pattern"),
    "a misspelt field": (lambda log: log.prediction("m", {}, scores=0.1), "Extra inputs are not permitted"),
    "a time without offset": (lambda log: log.outcome("m", "p", True, at=datetime(2013, 7, 1)), "timezone"),  # noqa: DTZ001
    "too much": (lambda log: log.observation("v", "e", {"text": "x" * 600_000}), "allowed 524288"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_an_event_is_raised_where_it_is_logged(wrong: str, kafka: str) -> None:
    log_it, reason = WRONG[wrong]
    with driftloop.Producer("shop", kafka) as log, pytest.raises(ValueError, match=reason):
        log_it(log)


async def test_nothing_that_is_logged_while_the_broker_is_away_is_lost(stack: LocalStack, kafka: str) -> None:
    model = a_name()
    with ExitStack() as producers:
        log = producers.enter_context(driftloop.Producer("shop", kafka))
        asked = [log.prediction(model, {"row": row}) for row in range(10)]
        log.flush()
        await asyncio.to_thread(stack.hold, "kafka")
        try:
            other = producers.enter_context(driftloop.Producer("made while it is away", kafka))
            asked.append(other.prediction(model, {"row": 0}))
            asked += [log.prediction(model, {"row": row}) for row in range(10, 200)]
            with pytest.raises(TimeoutError, match=r"190 events were not acked within 0\.5 s: is Kafka there"):
                log.flush(timeout_s=0.5)
        finally:
            await asyncio.to_thread(stack.release, "kafka")
        log.flush(timeout_s=60)
        other.flush(timeout_s=60)
    batch, bad = read_batch(await records_of(kafka, "predictions.v1", model, 201))
    assert bad == []
    assert isinstance(batch, PredictionBatch)
    assert set(batch.prediction_ids) == set(asked)


async def test_the_producer_for_event_loops_acks_what_it_was_given(kafka: str) -> None:
    model = a_name()
    events = [driftloop.predicted(model, {"row": row}, time=NOON) for row in range(300)]
    async with driftloop.AsyncProducer("shop", kafka) as log:
        acks = await log.send(events)
        assert await log.send_until_acked(events) != acks
    assert len(acks) == 2, "256 rows to a record"
    assert rows_of(await records_of(kafka, "predictions.v1", model, 600)) == 600
