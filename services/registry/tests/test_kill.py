"""Killed half-way, wherever that is: one version a candidate, one deployment a decision, an unbroken audit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
from services.registry.tests.test_process import World
from services.registry.tests.world import JUNE, better

from driftloop_bus.kafka import KafkaLog
from driftloop_contracts.control_plane import AuditRecorded, DeploymentChanged, VersionRegistered
from driftloop_contracts.event import Fact
from driftloop_kit.testing import ServiceProcess, running
from driftloop_local.databases import ServiceDatabase

pytestmark = pytest.mark.stack
CANDIDATES = 40
F = TypeVar("F", bound=Fact)


@pytest.fixture
def killable(database: ServiceDatabase, kafka: str, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A registry for this test alone."""
    with running("registry", kafka, tmp_path, database.login_url) as service:
        yield service


async def test_a_registry_that_is_killed_over_and_over_decides_each_thing_once(killable: ServiceProcess) -> None:
    log = KafkaLog(killable.kafka, "test")
    world = World(log, killable.url)
    await world.apply()
    candidates = [world.named(better(f"c{number}", JUNE, incumbent_version="1")) for number in range(CANDIDATES)]
    for third in range(3):
        await world.say("retrainer", *candidates[third::3])
        # Long enough to be in the middle of them, another middle each time.
        await asyncio.sleep(0.05 * third)
        await asyncio.to_thread(killable.kill)
        await asyncio.to_thread(killable.again)
    await world.until(lambda: everything_was_said(world))
    deployments = await facts(world, "deployments.v1", DeploymentChanged)
    assert [fact.revision for fact in deployments] == list(range(1, CANDIDATES + 1))
    registered = await facts(world, "registry.v1", VersionRegistered)
    assert sorted(int(fact.version) for fact in registered) == list(range(1, CANDIDATES + 1))
    records = await facts(world, "audit.v1", AuditRecorded)
    for before, after in pairwise(records):
        assert (after.sequence, after.previous_digest) == (before.sequence + 1, before.digest)
    await log.close()


async def everything_was_said(world: World) -> bool:
    """As many deployments as candidates are on their topic, and nothing waits to be sent."""
    ready = await world.get("/ready")
    return ready["outbox_pending"] == 0 and len(await facts(world, "deployments.v1", DeploymentChanged)) >= CANDIDATES


async def facts(world: World, topic: str, kind: type[F]) -> list[F]:
    """What was said, in the order of the topic; what was sent twice counts once."""
    return list({event.id: event.data for event in await world.events(topic) if isinstance(event.data, kind)}.values())
