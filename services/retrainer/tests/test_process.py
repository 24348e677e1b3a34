"""The retrainer as a process on the real Kafka and Postgres: one request, one training, whatever is killed."""

from __future__ import annotations

import asyncio
import io
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from services.retrainer.tests.ear import Ear
from services.retrainer.tests.test_executor import CODE
from services.retrainer.tests.world import built, declared, requested, rows

from driftloop_artifacts import ArtifactStore
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing
from driftloop_bus.testing import nobody, say
from driftloop_contracts.loop import (
    CandidateTrained,
    DatasetRequested,
    RetrainRequested,
    TrainingFailed,
    TrainingStarted,
)
from driftloop_contracts.topics import CANDIDATES, DATASET_REQUESTS, DECLARATIONS, RETRAINING, dead_letters, on_demand
from driftloop_kit.testing import ServiceProcess, running
from driftloop_local.databases import ServiceDatabase

pytestmark = pytest.mark.stack
TOPICS = [DATASET_REQUESTS.name, CANDIDATES.name]


@pytest.fixture(scope="module")
def retrainer(
    kafka: str, retrainer_database: ServiceDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("retrainer")
    with running("retrainer", kafka, folder, retrainer_database.login_url, RETRAINER_CODE_PATH=CODE) as service:
        yield service


class World:
    """The topics around the retrainer; a model of its own for each test."""

    def __init__(self, retrainer: ServiceProcess) -> None:
        self.retrainer = retrainer
        self.log = KafkaLog(retrainer.kafka, "tests")
        self.model = f"m-{uuid.uuid4().hex[:8]}"
        self.ear = Ear(self.log, self.model)

    async def asked(self, entry: str = "samples:plain", **params: Any) -> None:
        """A retrain is asked for, and the feature store has answered with rows."""
        train = {"entry": entry, "timeout": "60s", "memory_mb": 1024, "params": params}
        await say(self.log, "registry", declared(model=self.model, train=train))
        await say(self.log, "monitor", requested(model=self.model))
        await self.until(DatasetRequested)
        sink = io.BytesIO()
        pq.write_table(rows(), sink)
        digest = await ArtifactStore.open(self.retrainer.artifacts).put(sink.getvalue())
        [wish] = self.ear.of(DatasetRequested)
        await say(self.log, "feature_store", built(wish, digest))

    async def until(self, kind: type, within_s: float = 60) -> Any:
        """The first event of this kind."""
        await self.ear.until(lambda heard: any(isinstance(event.data, kind) for event in heard), TOPICS, within_s)
        return self.ear.of(kind)[0]


@pytest.fixture
async def world(retrainer: ServiceProcess) -> AsyncIterator[World]:
    made = World(retrainer)
    yield made
    await made.ear.close()
    await made.log.close()


async def test_a_request_becomes_one_candidate_although_everything_is_said_twice(world: World) -> None:
    await world.asked()
    candidate = await world.until(CandidateTrained)
    assert candidate.correlation == requested(model=world.model).id
    assert candidate.time == requested().time
    assert len(world.ear.of(TrainingStarted)) == len(world.ear.of(CandidateTrained)) == 1
    assert await ArtifactStore.open(world.retrainer.artifacts).exists(candidate.data.artifact_digest)


async def test_the_request_is_repeated_where_an_orchestrator_watches(world: World) -> None:
    ear = Ear(world.log, world.model)
    await world.asked()
    await ear.until(lambda heard: bool(heard), [on_demand(world.model)])
    assert isinstance(ear.heard[0].data, RetrainRequested)
    assert ear.heard[0].id == requested(model=world.model).id
    await ear.close()


async def test_a_failure_is_told_and_the_next_request_goes_on(world: World) -> None:
    await world.asked("samples:raises")
    failed = await world.until(TrainingFailed)
    assert failed.data.kind == "raised"
    other = World(world.retrainer)
    await other.asked()
    await other.until(CandidateTrained)
    await other.ear.close()
    await other.log.close()


async def test_bad_messages_among_good_ones_are_parked(world: World) -> None:
    headers = (("ce_id", world.model.encode()), ("ce_type", b"nonsense"))
    producer = await world.log.producer()
    topics = (RETRAINING.name, DECLARATIONS.name)
    await producer.send([Outgoing(topic, b"x", b"\xff no json", headers) for topic in topics])
    await producer.close()
    await world.asked()
    await world.until(CandidateTrained)
    parked = [dead_letters(topic, "retrainer") for topic in topics]
    consumer = await world.log.consumer(parked, None, nobody, nobody)
    found: set[str] = set()
    async with asyncio.timeout(30):
        while found != set(parked):
            pieces = await consumer.poll(1_000, 100)
            found |= {one.topic for one in pieces if any(record.headers[0] == headers[0] for record in one.records)}
    await consumer.close()


async def test_killed_in_the_middle_of_a_training_it_leaves_nothing_and_trains_once(
    world: World, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    await world.asked("samples:hangs_at_first", pids=str(pids))
    async with asyncio.timeout(60):
        while not pids.exists() or not pids.read_text():  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.05)
    assert [one["model"] for one in world.retrainer.ready()["training"]] == [world.model]
    world.retrainer.kill()
    async with asyncio.timeout(5):
        while exists(int(pids.read_text())):  # noqa: ASYNC110  # the system tells nobody
            await asyncio.sleep(0.02)
    left = set(os.listdir(world.retrainer.data))
    assert left, "a killed training leaves its folder"
    world.retrainer.again()
    await world.until(CandidateTrained)
    assert len(world.ear.of(CandidateTrained)) == len(world.ear.of(TrainingStarted)) == 1
    # Another may be there, of a process that is kept warm for the next request.
    assert left & set(os.listdir(world.retrainer.data)) == set()


def exists(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
