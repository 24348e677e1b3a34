"""F9: a registry is killed over and over while people change things at it. Each change has its event, and each event its change.

With the registry dies its relay. A subscriber misses most of it and hears everything afterwards.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from tests.faults.account import Account, Line, longest_silence_ms, told
from tests.faults.registry_changes import Changes, Door, applied, declare, frozen_and_thawed, train_first_version
from tests.faults.registry_view import Said, differences, effects, last_values, said
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.subscriber import Subscriber
from tests.faults.verdict import judge

from driftloop_bus.kafka import KafkaLog
from driftloop_bus.testing import everything
from driftloop_contracts.topics import COMMANDS, REGISTRY, dead_letters
from driftloop_kit.testing import ServiceProcess

pytestmark = [pytest.mark.faults, pytest.mark.stack]

SEED = 9
KILLS, MISSED_S = {"fast": (5, 20.0), "whole": (50, 600.0)}[size()]
# Long enough for a handful of changes, short enough to be in the middle of the start's work at times.
ALIVE_S = (0.1, 1.5)
DECLARED, DEPLOYED = "f9-declared", "f9-deployed"
WITHIN_S = 60.0
# Commands that were given while it died over and over are handled afterwards, at first one by one.
DRAINED_WITHIN_S = 300.0
LOOK_S = 0.05


async def test_each_change_has_its_event_whenever_the_registry_dies(
    kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    database_url = await asyncio.to_thread(service_database, "registry")
    log, subscriber = KafkaLog(kafka, "f9"), Subscriber(kafka, REGISTRY.name, tmp_path)
    registry = ServiceProcess("registry", kafka, tmp_path, database_url)
    with registry, Account(tmp_path / "told") as account:
        changes = Changes(account, Door(registry.url))
        changing = await begun(changes, registry, log)
        await heard_and_gone(subscriber)
        began = time.time()
        async with last_values(log) as last:
            killed_at = await killed(registry, began + MISSED_S)
            changes.stop.set()
            await asyncio.gather(*changing)
            ended = time.time()
            drained_s = await until(lambda: everything_heard(registry, log), DRAINED_WITHIN_S)
            settled_s = await until(lambda: last.as_in(database_url))
        found = await said(log)
        unheard, caught_up_s = await heard_the_rest(subscriber, found)
        parked = await everything(log, dead_letters(COMMANDS.name, "registry"))
        eventless, changeless = await differences(database_url, found)
    await log.close()
    lines = told(account.path)
    assert {line.client for line in lines if line.state == "ok"} == {"tags", "metrics", "runs", "commands"}
    door = [line for line in lines if line.client != "commands"]
    report(
        "F9", judge(lines, effects(found)), seed=SEED, kills=len(killed_at), missed_s=MISSED_S,
        changes_without_event=len(eventless), events_without_change=len(changeless), unheard=unheard, parked=len(parked),
        drained_s=round(drained_s, 2), settled_s=round(settled_s, 2), caught_up_s=round(caught_up_s, 2),
        recover_s=round(slowest_recovery_s(door, killed_at), 2), unavailable_ms=round(longest_silence_ms(door, began, ended)),
        bounds={"changes_without_event": 0, "events_without_change": 0, "parked": 0, "settled_s": 5.0, "unheard": 0},
    )  # fmt: skip


async def begun(changes: Changes, registry: ServiceProcess, log: KafkaLog) -> list[asyncio.Task[None]]:
    """Everybody changes things at a registry that serves a first version."""
    await asyncio.to_thread(registry.until_ready)
    await declare(log, DEPLOYED)
    await registry.eventually(f"/loop/models/{DEPLOYED}", lambda page: page["revision"] == 0)
    await train_first_version(log, DEPLOYED)
    await registry.eventually(f"/loop/models/{DEPLOYED}", lambda page: page["revision"] == 1)
    producer = await log.producer()
    clients = [
        changes.commands(producer, DECLARED, applied(DECLARED)),
        changes.commands(producer, DEPLOYED, frozen_and_thawed),
        changes.tags("f9-tags-one"),
        changes.tags("f9-tags-two"),
        changes.metrics(),
        changes.runs("f9-run"),
    ]
    return [asyncio.create_task(client) for client in clients]


async def killed(registry: ServiceProcess, until_s: float) -> list[float]:
    """The registry is killed and started again, at moments that one seed chooses; it is ready, and so much time has passed."""
    moments, at = random.Random(SEED), list[float]()
    for _ in range(KILLS):
        await asyncio.sleep(moments.uniform(*ALIVE_S))
        await asyncio.to_thread(registry.kill)
        at.append(time.time())
        await asyncio.to_thread(registry.again)
    await asyncio.sleep(max(0.0, until_s - time.time()))
    return at


async def heard_and_gone(subscriber: Subscriber) -> None:
    """The group exists, and nobody listens for it."""

    async def heard() -> bool:
        return bool(subscriber.heard())

    subscriber.start()
    await until(heard)
    subscriber.kill()


async def heard_the_rest(subscriber: Subscriber, found: Said) -> tuple[int, float]:
    """How many events never came to it since it is back, and how long it took."""
    missing = {event.id for event in found[REGISTRY.name]}

    async def everything_came() -> bool:
        missing.difference_update(subscriber.heard())
        return not missing

    subscriber.start()
    took_s = await until(everything_came)
    subscriber.kill()
    return len(missing), took_s


async def everything_heard(registry: ServiceProcess, log: KafkaLog) -> bool:
    """Every command was handled."""
    ends = await log.end_offsets([COMMANDS.name])
    ready = await asyncio.to_thread(registry.ready)
    return bool(ready.get("positions", {}).get(COMMANDS.name) == {str(part): end for (_, part), end in ends.items()})


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = WITHIN_S) -> float:
    """After how many seconds it held; `within_s` when it did not until then."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if await holds():
            break
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began


def slowest_recovery_s(lines: Sequence[Line], killed_at: Sequence[float]) -> float:
    """From a kill to the next yes, at its worst."""
    yes = sorted(line.t for line in lines if line.state == "ok")
    return max(min((t for t in yes if t > at), default=at + WITHIN_S) - at for at in killed_at)
