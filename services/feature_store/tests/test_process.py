"""The feature store as a process on the real Kafka, Postgres and Delta Lake."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from services.feature_store.tests.world import (
    alone,
    at,
    came_true,
    model_declared,
    observed,
    packed,
    predicted,
    view_declared,
    wanted,
)

from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import decode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.testing import nobody, say
from driftloop_contracts import AnyEvent
from driftloop_contracts.loop import DatasetBuilt, DatasetFailed
from driftloop_contracts.topics import DATASETS, FEATURES, OBSERVATIONS, OUTCOMES, PREDICTIONS, dead_letters
from driftloop_kit.testing import ServiceProcess
from feature_store.tables import Tables

pytestmark = pytest.mark.stack
WITHIN_S = 60.0


class World:
    """The topics around the feature store; a model and a view of its own for each test."""

    def __init__(self, store: ServiceProcess) -> None:
        self.store = store
        self.log = KafkaLog(store.kafka, "tests")
        name = uuid.uuid4().hex[:8]
        self.model, self.view = f"m-{name}", f"v-{name}"
        self.client = httpx.AsyncClient(base_url=store.url, trust_env=False, timeout=20)

    async def put(self, *records: Outgoing) -> dict[str, dict[int, int]]:
        """On the log, and the ends of the partitions that they went to."""
        producer = await self.log.producer()
        ends: dict[str, dict[int, int]] = {}
        for record, (partition, offset) in zip(records, await producer.send(records), strict=True):
            ends.setdefault(record.topic, {})[partition] = offset + 1
        await producer.close()
        return ends

    async def say(self, service: str, *events: AnyEvent) -> None:
        """Each twice: consumers must expect that."""
        await say(self.log, service, *events)

    async def heard(self, topic: str, enough: Callable[[list[Record]], bool], key: str) -> list[Record]:
        """The records of this key, once they are enough."""
        consumer = await self.log.consumer([topic], None, nobody, nobody)
        found: list[Record] = []
        async with asyncio.timeout(WITHIN_S):
            while not enough(found):
                for piece in await consumer.poll(1_000, 100):
                    found += [record for record in piece.records if (record.key or b"").decode() == key]
        await consumer.close()
        return found

    async def dataset(self, ends: dict[str, dict[int, int]], name: str = "request") -> Any:
        """What the feature store answers to such a request."""
        request = wanted(ends, model=self.model, name=name)
        await self.say("retrainer", request)
        asked = await self.heard(
            DATASETS.name, lambda records: any(decode(one).causation == request.id for one in records), self.model
        )
        return next(event for event in map(decode, asked) if event.causation == request.id)

    async def stored(self, ends: dict[str, dict[int, int]], within_s: float = WITHIN_S) -> None:
        """The history is up to these."""
        async with asyncio.timeout(within_s):
            while not covers((await self.ready()).get("history", {}), ends):  # noqa: ASYNC110  # another process stores
                await asyncio.sleep(0.1)

    async def ready(self) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.client.get("/ready")).json()
        return answer

    def ids(self) -> list[str]:
        """The model's predictions in the history."""
        tables = Tables(self.store.history)
        found = tables.rows(PREDICTIONS.name, tables.versions()["predictions"])
        return [row["prediction_id"] for row in found.to_pylist() if row["model"] == self.model]

    async def close(self) -> None:
        await self.client.aclose()
        await self.log.close()


@pytest.fixture
async def world(feature_store: ServiceProcess) -> AsyncIterator[World]:
    made = World(feature_store)
    await made.say("registry", model_declared(made.model, made.view), view_declared(made.view))
    yield made
    await made.close()


async def test_a_dataset_from_packed_and_single_records_and_the_same_again_has_the_same_digest(world: World) -> None:
    asked = packed([predicted(number, 10 + number, model=world.model) for number in range(200)])
    seen = {"x": 1.0, "site": "EWR", "wind": 9.5}
    served = predicted(200, 300, model=world.model, variant="champion", version="1", features=seen)
    ends = await world.put(
        packed([observed(hour, float(hour), view=world.view) for hour in range(0, 240, 3)]),
        asked,
        alone(served),
        packed([came_true(number, 12 + number, number % 2, model=world.model) for number in range(200)]),
        alone(came_true(200, 301, 1, model=world.model)),
    )
    built = await world.dataset(ends)
    assert isinstance(built.data, DatasetBuilt)
    assert (built.data.manifest.rows, built.data.manifest.label_coverage) == (201, 1.0)
    assert built.data.request_id == "request"
    data = await ArtifactStore.open(world.store.artifacts).get(built.data.digest, max_bytes=10_000_000)
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    assert len(data) == built.data.size_bytes
    # Asked at hour 11, when the reading of hour 9 was the newest; at hour 300 it was asked with what the model saw.
    assert (rows[1]["prediction_id"], rows[1]["time"], rows[1]["wind"]) == (f"{world.model}/1", at(11), 9.0)
    assert (rows[200]["wind"], rows[200]["target"]) == (9.5, 1)
    again = await world.dataset(ends, "another")
    assert again.data.digest == built.data.digest


async def test_a_dataset_may_be_asked_for_before_the_model_is_known(feature_store: ServiceProcess) -> None:
    world = World(feature_store)
    ends = await world.put(alone(predicted(1, 1, model=world.model)))
    ends |= await world.put(alone(came_true(1, 2, model=world.model)))
    answer = asyncio.create_task(world.dataset(ends))
    other = World(feature_store)
    await other.say("registry", model_declared(other.model, other.view))
    assert isinstance((await other.dataset(ends)).data, DatasetFailed)  # it has no rows; it did not wait for the first
    assert not answer.done()
    await world.say("registry", model_declared(world.model, world.view))
    assert isinstance((await answer).data, DatasetBuilt)
    await world.close()
    await other.close()


async def test_what_comes_later_changes_no_dataset_of_before(world: World) -> None:
    ends = await world.put(*(alone(predicted(n, n, model=world.model)) for n in range(5)))
    ends |= await world.put(*(alone(came_true(n, n + 1, model=world.model)) for n in range(5)))
    first = await world.dataset(ends)
    await world.put(alone(predicted(9, 1, model=world.model)), alone(came_true(9, 2, model=world.model)))
    corrected = await world.put(alone(came_true(1, 3, 0, model=world.model, revision=1)))
    await world.stored(corrected)
    assert (await world.dataset(ends, "again")).data.digest == first.data.digest


async def test_a_dataset_without_outcomes_fails_with_what_to_do(world: World) -> None:
    ends = await world.put(*(alone(predicted(n, n, model=world.model)) for n in range(5)))
    failed = await world.dataset(ends)
    assert isinstance(failed.data, DatasetFailed)
    assert f"0 of 5 predictions of {world.model} had an outcome" in failed.data.reason


async def test_killed_between_rows_it_stores_each_of_them_once(world: World) -> None:
    ends: dict[str, dict[int, int]] = {}
    for start in range(0, 300, 100):
        ends = await world.put(*(alone(predicted(n, n, model=world.model)) for n in range(start, start + 100)))
        if start == 100:
            await world.stored(ends)
        world.store.kill()
        await asyncio.to_thread(world.store.again)
    await world.stored(ends)
    assert sorted(world.ids()) == sorted(f"{world.model}/{n}" for n in range(300))


async def test_killed_in_the_middle_of_a_dataset_it_builds_it_once(world: World) -> None:
    ends = await world.put(packed([predicted(n, n, model=world.model) for n in range(500)]))
    ends |= await world.put(packed([came_true(n, n + 1, model=world.model) for n in range(500)]))
    request = wanted(ends, model=world.model)
    await world.say("retrainer", request)
    await asyncio.sleep(0.3)
    world.store.kill()
    await asyncio.to_thread(world.store.again)
    records = await world.heard(DATASETS.name, bool, world.model)
    assert len({decode(record).id for record in records}) == 1
    assert isinstance(decode(records[0]).data, DatasetBuilt)


async def test_bad_records_among_good_ones_are_parked_once_each(world: World) -> None:
    mark = world.model.encode()
    bad = [Outgoing(topic.name, mark, b"\xff", (("ce_id", mark),)) for topic in (PREDICTIONS, OUTCOMES, OBSERVATIONS)]
    await world.put(*bad)
    ends = await world.put(*(alone(predicted(n, n, model=world.model)) for n in range(3)))
    await world.stored(ends)
    for topic in (PREDICTIONS, OUTCOMES, OBSERVATIONS):
        letters = await world.heard(dead_letters(topic.name, "feature_store"), bool, world.model)
        assert len(letters) == 1
        assert letters[0].value == b"\xff"
    assert sorted(world.ids()) == [f"{world.model}/{n}" for n in range(3)]


async def test_a_late_observation_never_overwrites_a_newer_one_on_the_topic(world: World) -> None:
    await world.put(*(alone(observed(hour, wind, view=world.view)) for hour, wind in ((1, 1.0), (3, 3.0), (2, 2.0))))
    await world.put(alone(observed(4, 4.0, view=world.view)))
    records = await world.heard(FEATURES.name, lambda found: 4.0 in winds_of(found), f"{world.view}/EWR")
    winds = winds_of(records)
    assert winds == sorted(winds)
    assert 2.0 not in winds


async def test_single_rows_are_found_by_ids_with_slashes(world: World) -> None:
    asked = predicted(1, 1, model=world.model, entity="flight 1", keys={"tail": "N1"})
    await world.put(alone(asked), alone(came_true(1, 2, model=world.model)))
    event = await until_found(world, f"/history/events/{asked.id}")
    assert (event["table"], event["prediction_id"]) == ("predictions", f"{world.model}/1")
    assert event["features"] == {"x": 1.0, "site": "EWR"}
    prediction = await until_found(world, f"/history/predictions/{world.model}/1")
    assert [row["value"] for row in prediction["outcomes"]] == [1.0]
    assert prediction["predictions"][0]["keys"] == {"tail": "N1"}
    missing = await world.client.get("/history/events/nobody's/event")
    assert (missing.status_code, missing.json()) == (404, {"error": "no event nobody's/event in the history"})


def covers(positions: dict[str, dict[str, int]], ends: dict[str, dict[int, int]]) -> bool:
    """Whether everything before these ends is stored."""
    return all(
        positions.get(topic, {}).get(str(partition), 0) >= end
        for topic, places in ends.items()
        for partition, end in places.items()
    )


def winds_of(records: list[Record]) -> list[float]:
    """The winds that were told, in order."""
    return [decode(record).data.values["wind"] for record in records]


async def until_found(world: World, path: str) -> dict[str, Any]:
    """The row, once the record has been read."""
    async with asyncio.timeout(WITHIN_S):
        while (answer := await world.client.get(path)).status_code == 404:  # noqa: ASYNC110  # another process stores
            await asyncio.sleep(0.1)
    found: dict[str, Any] = answer.json()
    return found
