"""The running service on a real Kafka: what it promises when something dies, goes away or is broken."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftloop_artifacts import ArtifactStore, Digest
from driftloop_bus.batches import PredictionBatch
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.routes import on_batch
from driftloop_bus.tail import Tail
from driftloop_bus.testing import publish
from driftloop_contracts import derived_id
from driftloop_contracts.control_plane import Challenger, DeploymentChanged, ModelDeclared, ServedVersion
from driftloop_contracts.data_plane import FeaturesUpdated
from driftloop_contracts.topics import PREDICTIONS
from driftloop_local.stack import LocalStack
from serving.testing import FEATURES, NOON, a_declaration, an_event, linear_model
from serving.testing.process import ServingProcess

pytestmark = pytest.mark.stack

WITHIN_S = 60.0


class World:
    """A running serving, a model of its own, and what came out on `predictions.v1`."""

    def __init__(self, process: ServingProcess) -> None:
        self.process = process
        self.model = f"late-{uuid.uuid4().hex[:8]}"
        self.store = ArtifactStore.open(process.artifacts)
        self.client = httpx.AsyncClient(base_url=process.url, trust_env=False, timeout=30)
        self.revision = 0

    async def version(self, version: str, data: bytes) -> dict[str, Any]:
        digest = str(await self.store.put(data))
        named = {"version": version, "artifact_digest": digest, "artifact_format": "driftloop-table-model"}
        return {**named, "features": FEATURES, "since": NOON}

    async def declare(self, **changed: Any) -> None:
        document = a_declaration(self.model, **changed)
        data = ModelDeclared(model=self.model, document=document, digest="sha256:0", applied_by="ops")
        await publish(self.process.kafka, "registry", an_event(data))

    async def deploy(self, champion: dict[str, Any], shadows: list[dict[str, Any]] | None = None) -> None:
        self.revision += 1
        changed = DeploymentChanged(
            model=self.model,
            revision=self.revision,
            champion=ServedVersion(**champion),
            challengers=[Challenger(**one, mode="shadow", candidate="c") for one in shadows or []],
            reason="first",
        )
        await publish(self.process.kafka, "registry", an_event(changed))

    async def predict(self, prediction_id: str, **features: Any) -> httpx.Response:
        body = {"features": {"wind": 3.0, "origin": "EWR"} | features, "prediction_id": prediction_id}
        return await self.client.post(f"/predict/{self.model}", json=body)

    async def on_the_topic(self, count: int) -> dict[tuple[str, str | None, str], dict[str, Any]]:
        """The model's predictions, once there are at least so many different ones."""
        reader = _Reader(self.model, count)
        log = KafkaLog(self.process.kafka, "serving-tests")
        tail = Tail(log, [PREDICTIONS], [on_batch(PREDICTIONS, _Reader.on_predictions)], reader)
        running = asyncio.create_task(tail.run())
        try:
            async with asyncio.timeout(WITHIN_S):
                await reader.enough.wait()
        finally:
            tail.stop()
            await running
            await log.close()
        return reader.rows


class _Reader:
    def __init__(self, model: str, count: int) -> None:
        self.model, self.count = model, count
        self.enough = asyncio.Event()
        self.rows: dict[tuple[str, str | None, str], dict[str, Any]] = {}

    def on_predictions(self, batch: PredictionBatch) -> None:
        mine = batch.by_model().get(self.model)
        for row in range(len(mine) if mine is not None else 0):
            assert mine is not None
            key = (mine.prediction_ids[row], mine.versions[row], mine.variants[row])
            self.rows[key] = {"event_id": mine.event_ids[row], "score": float(mine.scores[row])}
        if len(self.rows) >= self.count:
            self.enough.set()


@pytest.fixture(scope="module")
def process(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    """One for all tests, since each has a model of its own; who ends it starts it again."""
    with ServingProcess(kafka, tmp_path_factory.mktemp("serving")) as process:
        yield process


@pytest.fixture
async def world(process: ServingProcess) -> AsyncIterator[World]:
    world = World(process)
    yield world
    await world.client.aclose()


async def a_served_model(world: World, shadows: list[dict[str, Any]] | None = None) -> None:
    await world.declare()
    await world.deploy(await world.version("1", linear_model(1.0)), shadows)
    await world.process.eventually_serves(world.model, "1")


async def test_without_a_deployment_it_is_ready_and_knows_no_model(world: World) -> None:
    said = await world.process.eventually("/ready", lambda said: said.get("ready"))
    assert said["spool_pending"] == 0
    assert (await world.predict("p1")).status_code == 404


async def test_answers_of_champion_and_shadow_are_on_the_topic(world: World) -> None:
    await a_served_model(world, [await world.version("2", linear_model(-1.0))])
    said = world.process.shown(world.model)
    assert said == {"revision": 1, "champion": "1", "shadows": ["2"], "error": None}
    answers = await asyncio.gather(*(world.predict(f"p{n}", wind=float(n)) for n in range(60)))
    assert {answer.status_code for answer in answers} == {200}
    seen = await world.on_the_topic(120)
    for n, answer in enumerate(answers):
        assert seen[f"p{n}", "1", "champion"]["score"] == answer.json()["score"]
        assert seen[f"p{n}", "2", "shadow"]["score"] < answer.json()["score"]


async def test_an_answer_survives_a_kill_right_after_it(world: World) -> None:
    await a_served_model(world)
    assert (await world.predict("p1")).status_code == 200
    world.process.kill()
    world.process.start()
    seen = await world.on_the_topic(1)
    assert seen["p1", "1", "champion"]
    await world.process.eventually_serves(world.model, "1")
    again = await world.predict("p1")
    assert again.json()["score"] == seen["p1", "1", "champion"]["score"]


async def test_a_repeat_after_a_restart_is_the_same_event(world: World) -> None:
    await a_served_model(world)
    await world.predict("p1")
    await world.on_the_topic(1)
    assert world.process.stop() == 0
    world.process.start()
    await world.process.eventually_serves(world.model, "1")
    await world.predict("p1")
    await world.predict("p2")
    seen = await world.on_the_topic(2)
    assert seen["p1", "1", "champion"]["event_id"] == derived_id("p1", f"{world.model}:1:champion")


async def test_views_come_from_features_v1(world: World) -> None:
    wind = {"type": "number", "view": f"weather-{world.model}", "entity": "origin", "max_age": "4h"}
    await world.declare(features={"origin": "category", "wind": wind})
    await world.deploy(await world.version("1", linear_model(1.0)))
    updated = FeaturesUpdated(view=wind["view"], entity="EWR", values={"wind": 7.0}, time=NOON)
    await publish(world.process.kafka, "feature_store", an_event(updated))
    await world.process.eventually_serves(world.model, "1")
    await world.process.eventually("/ready", lambda said: said["features"]["entities"] >= 1)
    body = {"features": {"origin": "EWR"}, "time": "2013-06-19T13:00:00Z"}
    known = (await world.client.post(f"/predict/{world.model}", json=body)).json()["score"]
    stale = (await world.client.post(f"/predict/{world.model}", json=body | {"time": "2013-06-19T17:00:00Z"})).json()
    assert known != stale["score"]


async def test_a_flipped_bit_keeps_the_old_version_and_says_why(world: World) -> None:
    await a_served_model(world)
    second = await world.version("2", linear_model(2.0))
    file = Path(world.process.folder) / "artifacts" / Digest(second["artifact_digest"]).key
    whole = await asyncio.to_thread(file.read_bytes)
    await asyncio.to_thread(file.write_bytes, whole[:-1] + bytes([whole[-1] ^ 1]))
    await world.deploy(second)
    said = await world.process.eventually("/ready", lambda said: said["models"][world.model]["error"])
    assert said["ready"] is True
    assert said["models"][world.model]["champion"] == "1"
    assert "holds bytes of" in said["models"][world.model]["error"]
    assert (await world.predict("p1")).json()["version"] == "1"
    metrics = (await world.client.get("/metrics")).text
    assert f'driftloop_serving_total{{model="{world.model}",what="load_failed"' in metrics


async def test_it_answers_while_kafka_is_gone_and_the_spool_is_sent_when_it_is_back(
    world: World, stack: LocalStack
) -> None:
    await a_served_model(world)
    await asyncio.to_thread(stack.hold, "kafka")
    try:
        answers = [await world.predict(f"p{n}") for n in range(100)]
        assert {answer.status_code for answer in answers} == {200}
        assert world.process.ready()["spool_pending"] > 0
    finally:
        await asyncio.to_thread(stack.release, "kafka")
    assert len(await world.on_the_topic(100)) == 100
    await world.process.eventually("/ready", lambda said: said["spool_pending"] == 0)


async def test_a_swap_under_load_fails_no_request(world: World) -> None:
    await a_served_model(world)
    stop = asyncio.Event()
    versions: list[str] = []

    async def caller(name: int) -> None:
        n = 0
        while not stop.is_set():
            answer = await world.predict(f"{name}-{n}", wind=float(n % 7))
            assert answer.status_code == 200, answer.text
            versions.append(answer.json()["version"])
            n += 1

    callers = [asyncio.create_task(caller(name)) for name in range(8)]
    for version in ("2", "3", "4"):
        await world.deploy(await world.version(version, linear_model(float(version))))
        await world.process.eventually_serves(world.model, version)
    stop.set()
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(*callers)
    assert set(versions) >= {"1", "4"}


async def test_without_kafka_at_the_start_it_waits_and_calls_no_model_unknown(tmp_path: Path) -> None:
    with ServingProcess("127.0.0.1:1", tmp_path) as process:
        said = await process.eventually("/ready", lambda said: said.get("reasons", {}).get("start"))
        assert said["ready"] is False
        async with httpx.AsyncClient(base_url=process.url, trust_env=False) as client:
            assert (await client.get("/live")).status_code == 200
            answer = await client.post("/predict/late", json={"features": {}})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert (await client.get("/v2/health/ready")).status_code == 503
            assert (await client.get("/v2/nothing")).json().keys() == {"error"}
