"""The registry as a process on the real Kafka and Postgres: what it hears, what follows, what it tells."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import httpx
import pytest
import pytest_asyncio
from services.registry.tests.world import DAY, JUNE, candidate, command, document, judged

from driftloop_bus.codec import decode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing
from driftloop_bus.testing import everything, say
from driftloop_contracts.control_plane import AuditRecorded, DeploymentChanged, RunEnded, RunStarted
from driftloop_contracts.event import AnyEvent, Event, caused
from driftloop_kit.testing import ServiceProcess

pytestmark = pytest.mark.stack
# A group whose member was killed may need its session's time to form again.
WITHIN_S = 60.0
T = TypeVar("T")


class World:
    """The topics around a registry, and its pages; a model of its own for each test."""

    def __init__(self, log: KafkaLog, url: str) -> None:
        self._log = log
        self._url = url
        self.model = f"m-{uuid.uuid4().hex[:8]}"

    def named(self, event: AnyEvent) -> AnyEvent:
        """The event, about this test's model, with an id of this test."""
        return replace(event, id=f"{self.model}-{event.id}", data=event.data.model_copy(update={"model": self.model}))

    async def say(self, service: str, *events: AnyEvent) -> None:
        """Each event is on its topic, twice: consumers must expect that."""
        await say(self._log, service, *events)

    async def say_garbage(self, topic: str) -> None:
        """Something that nobody can decode."""
        producer = await self._log.producer()
        await producer.send([Outgoing(topic, b"x", b"\xff not json", (("ce_id", b"g"), ("ce_type", b"nonsense")))])
        await producer.close()

    async def apply(self) -> None:
        """The model is declared."""
        applied = command("apply", document=document(model=self.model))
        await self.say("console", self.named(applied))
        await self.until(lambda: self.get(f"/loop/models/{self.model}"))

    async def get(self, path: str) -> Any:
        """A page's JSON; None where there is nothing."""
        async with httpx.AsyncClient(base_url=self._url) as client:
            answer = await client.get(path)
        return answer.json() if answer.status_code == httpx.codes.OK else None

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """An MLflow call."""
        async with httpx.AsyncClient(base_url=self._url) as client:
            return await client.post(f"/api/2.0/mlflow/{path}", json=body)

    async def champion(self, version: str) -> Any:
        """The model's page, once this version answers."""

        async def look() -> Any:
            page = await self.get(f"/loop/models/{self.model}")
            return page if page and page["champion"] and page["champion"]["version"] == version else None

        return await self.until(look)

    async def events(self, topic: str) -> list[AnyEvent]:
        """Everything on the topic about this test's model or run."""
        records = await everything(self._log, topic)
        # The broker is everybody's: other tests leave what cannot be decoded.
        return [decode(record) for record in records if record.key == self.model.encode()]

    async def until(self, look: Callable[[], Awaitable[T | None]]) -> T:
        """What it sees, once it sees something."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            if seen := await look():
                return seen
            await asyncio.sleep(0.05)
        raise AssertionError("it did not come")


@pytest_asyncio.fixture
async def world(running: ServiceProcess) -> AsyncIterator[World]:
    log = KafkaLog(running.kafka, "test")
    yield World(log, running.url)
    await log.close()


async def with_two_versions(world: World) -> Event[DeploymentChanged]:
    """Version 2 is compared with version 1; returns the deployment that says so."""
    await world.apply()
    await world.say("retrainer", world.named(candidate("first")))
    await world.champion("1")
    second = candidate("second", JUNE + 6 * DAY, gain=0.2, incumbent_version="1")
    await world.say("retrainer", world.named(second))

    async def look() -> Event[DeploymentChanged] | None:
        found = await world.events("deployments.v1")
        return next((event for event in found if event.data.challengers), None)

    return await world.until(look)


async def test_a_candidate_becomes_champion_by_what_the_monitor_says_though_everything_comes_twice(
    world: World,
) -> None:
    comparing = await with_two_versions(world)
    look = world.named(judged("2", 1, JUNE + 13 * DAY)).data
    await world.say("monitor", caused(look, comparing.as_cause(), "look", time=JUNE + 13 * DAY))
    page = await world.champion("2")
    assert (page["revision"], page["previous"]["version"], page["challenger"]) == (3, "1", None)
    deployments = await world.events("deployments.v1")
    assert [event.data.revision for event in deployments] == [1, 2, 3]
    assert deployments[-1].time == JUNE + 13 * DAY


async def test_why_leads_from_the_live_deployment_back_to_the_first_cause(world: World) -> None:
    comparing = await with_two_versions(world)
    look = world.named(judged("2", 1, JUNE + 13 * DAY)).data
    await world.say("monitor", caused(look, comparing.as_cause(), "look", time=JUNE + 13 * DAY))
    await world.champion("2")

    async def whole() -> Any:
        links = await world.get(f"/loop/models/{world.model}/why")
        return links if links and len(links) == 4 else None

    links = await world.until(whole)
    assert [link["topic"] for link in links] == ["deployments.v1", "judgements.v1", "deployments.v1", "candidates.v1"]
    for effect, cause in pairwise(links):
        assert effect["cause"] == cause["id"]
    assert await world.get(f"/loop/events/{links[0]['id']}") == links[0]


async def test_the_log_tells_a_models_events_page_by_page(world: World) -> None:
    await world.apply()
    await world.say("retrainer", world.named(candidate("first")))
    await world.champion("1")

    async def settled() -> Any:
        log = await world.get(f"/loop/models/{world.model}/log?limit=500")
        return log if log and {"deployments.v1", "registry.v1", "declarations.v1"} <= topics(log) else None

    everything = (await world.until(settled))["events"]
    page = await world.get(f"/loop/models/{world.model}/log?limit=2")
    rest = await world.get(f"/loop/models/{world.model}/log?limit=500&before={page['next']}")
    assert page["events"] + rest["events"] == everything


def topics(log: dict[str, Any]) -> set[str]:
    return {event["topic"] for event in log["events"]}


async def test_a_bad_message_among_good_ones_stops_nothing(world: World) -> None:
    await world.apply()
    await world.say_garbage("candidates.v1")
    await world.say("retrainer", world.named(candidate("first")))
    await world.champion("1")


async def test_the_alias_champion_of_a_governed_model_is_moved_by_its_gate_alone(world: World) -> None:
    await world.apply()
    await world.say("retrainer", world.named(candidate("first")))
    await world.champion("1")
    answer = await world.get(f"/api/2.0/mlflow/registered-models/alias?name={world.model}&alias=champion")
    assert answer["model_version"]["version"] == "1"
    refusal = await world.post("registered-models/alias", {"name": world.model, "alias": "champion", "version": "1"})
    assert (refusal.status_code, refusal.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert f"driftloop approve {world.model}" in refusal.json()["message"]
    free = await world.post("registered-models/alias", {"name": world.model, "alias": "mine", "version": "1"})
    assert free.status_code == 200


async def test_each_decision_has_its_audit_record(world: World) -> None:
    await world.apply()
    await world.say("retrainer", world.named(candidate("first")))
    await world.champion("1")

    async def look() -> list[AnyEvent] | None:
        found = [event for event in await world.events("audit.v1") if isinstance(event.data, AuditRecorded)]
        return found if len(found) == 2 else None

    applied, deployed = await world.until(look)
    assert (applied.data.action, applied.data.actor) == ("apply", "anna")
    assert (deployed.data.action, deployed.data.previous_digest) == ("first", applied.data.digest)


async def test_a_tracked_run_is_told_to_everybody(world: World) -> None:
    created = await world.post("runs/create", {"experiment_id": "0", "start_time": 1_700_000_000_000})
    world.model = created.json()["run"]["info"]["run_id"]
    metrics = [{"key": f"m{i}", "value": i / 10, "timestamp": 1_700_000_000_001, "step": 1} for i in range(5)]
    nan = {"key": "odd", "value": "NaN", "timestamp": 1_700_000_000_001}
    for _ in range(2):
        batch = await world.post("runs/log-batch", {"run_id": world.model, "metrics": [*metrics, nan]})
        assert batch.status_code == 200
    await world.post("runs/update", {"run_id": world.model, "status": "FINISHED", "end_time": 1_700_000_000_002})

    async def look() -> list[AnyEvent] | None:
        found = await world.events("runs.v1")
        return found if any(isinstance(event.data, RunEnded) for event in found) else None

    events = await world.until(look)
    assert isinstance(events[0].data, RunStarted)
    logged = [event for event in events if event.data.TYPE == "driftloop.metrics.logged.v1"]
    assert len({event.id for event in logged}) == 1
    assert [metric.key for metric in logged[0].data.metrics] == ["m0", "m1", "m2", "m3", "m4"]
    assert events[-1].data.status == "FINISHED"
