"""F8: the disks of artifacts, of serving's spool, of Postgres and of Kafka are full, one after the other, and get room again."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.faults.account import Account, Line, longest_silence_ms, told
from tests.faults.full_disk_clients import Clients, broken, effects
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.small_disks import SmallDisk, small_disk
from tests.faults.trainings_view import unfinished
from tests.faults.verdict import judge
from tests.first_version import first_version

from driftloop_artifacts import ArtifactStore
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.testing import publish
from driftloop_bus.topics import ensure_topics
from driftloop_kit.schema import migrate
from driftloop_kit.testing import ServiceProcess
from driftloop_local.stack import LocalStack
from serving.testing import FEATURES, NOON, a_declaration, an_event, linear_model
from serving.testing.process import ServingProcess

pytestmark = [pytest.mark.faults, pytest.mark.stack]

FULL_S = {"fast": 8.0, "whole": 60.0}[size()]
BEFORE_S = 3.0
LOOK_S = 0.25
RECOVERS_WITHIN_S = 30.0
PATIENCE_S = 120.0
MODEL = "f8"
# What is written until the end has room, the ballast aside.
MIB = {"postgres": {"fast": 256, "whole": 2048}[size()], "kafka": 128, "artifacts": 48, "serving-data": 16}
# Who notices that which disk is full.
WRITES = {"artifacts": "files", "serving-data": "predictions", "postgres": "metrics"}


@dataclass(frozen=True)
class Place:
    """Every part with a small disk of its own, and a registry and a serving."""

    stack: LocalStack
    disks: dict[str, SmallDisk]
    registry: ServiceProcess
    serving: ServingProcess

    async def all_sent(self) -> bool:
        """Nothing waits for Kafka."""
        said = [await asyncio.to_thread(one.ready) for one in (self.registry, self.serving)]
        return said[0].get("outbox_pending") == 0 and said[1].get("spool_pending") == 0


@pytest.fixture
def place() -> Iterator[Place]:
    """Started here, in the main thread: what it starts ends with that."""
    home = Path(tempfile.mkdtemp(prefix="dl-"))
    home.chmod(0o755)
    with ExitStack() as parts:
        disks = {name: parts.enter_context(small_disk(home / name, mib)) for name, mib in MIB.items()}
        stack = parts.enter_context(LocalStack(home, only={"kafka", "postgres"}))
        database = stack.create_service_database("registry")
        asyncio.run(migrate("registry", database.owner_url))
        asyncio.run(ensure_topics(stack.kafka))
        registry = parts.enter_context(ServiceProcess("registry", stack.kafka, home, database.login_url))
        serving = parts.enter_context(ServingProcess(stack.kafka, home))
        registry.until_ready()
        serving.until_ready()
        yield Place(stack, disks, registry, serving)
    shutil.rmtree(home)


async def test_a_full_disk_loses_nothing_and_is_over_soon_after_there_is_room(
    place: Place, tmp_path: Path, report: Report
) -> None:
    await serve(place)
    log = KafkaLog(place.stack.kafka, "f8")
    with Account(tmp_path / "told") as account:
        clients = Clients(account, place.registry.url, place.serving.url, MODEL)
        asking = [asyncio.create_task(one()) for one in (clients.predictions, clients.metrics, clients.files)]
        began, recover_s = time.time(), dict[str, float]()
        for name in MIB:
            await asyncio.sleep(BEFORE_S)
            recover_s[name] = await filled(place, name, account.path)
        clients.stop.set()
        await asyncio.gather(*asking)
        ended = time.time()
        await until(place.all_sent)
    lines = told(account.path)
    found, artifacts = await effects(log, clients, lines), place.disks["artifacts"].folder
    await log.close()
    took: dict[str, Any] = {f"recover_{name}_s": round(one, 2) for name, one in recover_s.items()}
    report(
        "F8", judge(lines, found), full_s=FULL_S, **took,
        recover_s=round(max(recover_s.values()), 2), partial_artifacts=len(broken(artifacts)),
        unfinished=len(unfinished(artifacts)), strange_answers=len(clients.strange), strange=clients.strange[:3],
        unavailable_ms=round(longest_silence_ms([line for line in lines if line.key == "predictions"], began, ended)),
        bounds={"recover_s": RECOVERS_WITHIN_S, "partial_artifacts": 0, "unfinished": 0, "strange_answers": 0},
    )  # fmt: skip


async def filled(place: Place, name: str, account: Path) -> float:
    """The disk was full for a while. Seconds until everything goes on, since there is room again."""
    disk, began = place.disks[name], time.time()
    while time.time() - began < FULL_S:
        # Again and again: whoever gives up a file leaves room.
        await asyncio.to_thread(disk.fill)
        await asyncio.sleep(LOOK_S)
    assert await noticed(place, name, began, account), f"nobody noticed that the disk of {name} is full"
    await asyncio.to_thread(disk.free)
    return await until(partial(goes_on, place, name, time.time(), account))


async def noticed(place: Place, name: str, since: float, account: Path) -> bool:
    """Somebody was told no, or something waits."""
    if name == "kafka":
        return not await place.all_sent()
    return any(line.state != "ok" for line in lines_of(WRITES[name], since, account))


async def goes_on(place: Place, name: str, since: float, account: Path) -> bool:
    """Somebody was told yes, or nothing waits any more."""
    if name == "kafka":
        return await place.all_sent()
    return any(line.state == "ok" for line in lines_of(WRITES[name], since, account))


def lines_of(key: str, since: float, account: Path) -> list[Line]:
    """What a client was told since then."""
    return [line for line in told(account) if line.key == key and line.t > since and line.state != "attempt"]


async def until(holds: Callable[[], Awaitable[bool]]) -> float:
    """After how many seconds it held. Raises TimeoutError."""
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await holds():
                return time.monotonic() - began
            await asyncio.sleep(LOOK_S)


async def serve(place: Place) -> None:
    """A version answers."""
    digest = str(await ArtifactStore.open(place.serving.artifacts).put(linear_model(1.0)))
    await publish(
        place.stack.kafka, "registry", *map(an_event, first_version(a_declaration(MODEL), digest, FEATURES, NOON))
    )
    await place.serving.eventually_serves(MODEL, "1")
