"""Killed half-way, wherever that is: one version a candidate, one deployment a decision, an unbroken audit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from services.registry.tests.process import RunningRegistry, launch
from services.registry.tests.test_process import World
from services.registry.tests.world import JUNE, better

from driftloop_bus.kafka import KafkaLog
from driftloop_contracts.control_plane import AuditRecorded
from driftloop_local.databases import ServiceDatabase

pytestmark = pytest.mark.stack
CANDIDATES = 40


@pytest.fixture
def killable(database: ServiceDatabase, kafka: str, tmp_path: Path) -> Iterator[list[RunningRegistry]]:
    """The process that runs at the moment, last in a list; it is stopped whatever happens."""
    processes = [launch(database.login_url, kafka, tmp_path)]
    yield processes
    if processes[-1].process.poll() is None:
        processes[-1].stop()


async def test_a_registry_that_is_killed_over_and_over_decides_each_thing_once(killable: list[RunningRegistry]) -> None:
    log = KafkaLog(killable[0].kafka, "test")
    world = World(log, killable[0].url)
    await world.apply()
    candidates = [world.named(better(f"c{number}", JUNE, incumbent_version="1")) for number in range(CANDIDATES)]
    for third in range(3):
        await world.say("retrainer", *candidates[third::3])
        # Long enough to be in the middle of them, another middle each time.
        await asyncio.sleep(0.05 * third)
        await asyncio.to_thread(killable[-1].kill)
        killable.append(await asyncio.to_thread(killable[-1].again))
    await world.until(lambda: settled(world))
    await log.close()


async def settled(world: World) -> bool:
    """Every candidate was decided on; what was said of them holds together."""
    deployments = {event.id: event.data for event in await world.events("deployments.v1")}
    if len(deployments) < CANDIDATES:
        return False
    revisions = sorted(fact.revision for fact in deployments.values())
    assert revisions == list(range(1, CANDIDATES + 1))
    versions = {
        event.id: event.data.version for event in await world.events("registry.v1") if "version.reg" in event.data.TYPE
    }
    assert sorted(map(int, versions.values())) == list(range(1, CANDIDATES + 1))
    records = {e.id: e.data for e in await world.events("audit.v1") if isinstance(e.data, AuditRecorded)}
    in_order = sorted(records.values(), key=lambda record: record.sequence)
    for before, after in pairwise(in_order):
        assert (after.sequence, after.previous_digest) == (before.sequence + 1, before.digest)
    return True
