"""What a person does with dead letters, by the command: resumes, lists, redrives, and is interrupted at it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.clerks import WITHIN_S, Group, at, ends, until_at

from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Record
from driftloop_contracts.topics import OUTCOMES
from driftloop_kit.testing import ServiceProcess, bare_environment


def parked_by_the_bug(group: Group) -> int:
    """The buggy service has come to the end; how often a person had to resume it."""
    resumed, end = 0, ends(group.kafka)
    with group.service as buggy:
        buggy.until_ready()
        while said := paused_before(buggy, end):
            assert "20 in a row" in said["degraded"]["paused"]
            buggy.until(lambda: "driftloop_paused 1.0" in buggy.get("/metrics").text, "telling its metrics")
            driftloop(group.kafka, buggy, "dead", "resume", "clerk", OUTCOMES.name, "0")
            resumed += 1
        until_at(group, end)
        assert buggy.stop() == 0
    return resumed


def paused_before(service: ServiceProcess, end: dict[int, int]) -> dict[str, Any] | None:
    """What it says while a partition waits for a person; None once everything is handled."""
    wanted = {str(partition): offset for partition, offset in end.items()}
    said: dict[str, Any] = service.until_page("/ready", lambda now: is_paused(now) or at(now) == wanted, WITHIN_S)
    return said if is_paused(said) else None


def is_paused(said: dict[str, Any]) -> bool:
    """Whether the service says that a partition waits for a person."""
    return "paused" in said.get("degraded", {})


def is_marked(record: Record, parked: Sequence[dict[str, Any]]) -> bool:
    """Whether its headers name the letter, and the place where it lay before."""
    headers = {name: value.decode() for name, value in record.headers}
    places = {one["letter"]: (one["partition"], one["offset"]) for one in parked}
    told = (int(headers["redriven_partition"]), int(headers["redriven_offset"]))
    return places.get(headers["redriven_letter"]) == told and record.offset > told[1]


def driftloop(kafka: str, service: ServiceProcess, *words: str) -> str:
    """What the command says, as a person runs it."""
    where = {"DRIFTLOOP_KAFKA": kafka, "DRIFTLOOP_CLERK": service.url, "COLUMNS": "200"}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "driftloop"), *words],
        env=bare_environment() | where, capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def interrupted(kafka: str, *words: str) -> None:
    """The command is killed once it has sent something: what it has marked of it by then is chance."""
    before = sum(ends(kafka).values())
    command = [str(Path(sys.executable).parent / "driftloop"), *words]
    with subprocess.Popen(command, env=bare_environment() | {"DRIFTLOOP_KAFKA": kafka}) as person:
        try:
            asyncio.run(asyncio.wait_for(_until_beyond(kafka, before), WITHIN_S))
        finally:
            person.kill()


async def _until_beyond(kafka: str, records: int) -> None:
    log = KafkaLog(kafka, "reader")
    try:
        while sum((await log.end_offsets([OUTCOMES.name])).values()) <= records:  # noqa: ASYNC110  # a process of its own
            await asyncio.sleep(0.001)
    finally:
        await log.close()


def letters(kafka: str, service: ServiceProcess) -> list[dict[str, Any]]:
    """As `driftloop dead ls` lists the clerk's."""
    said = driftloop(kafka, service, "dead", "ls", "--topic", OUTCOMES.name, "--group", "clerk", "--json")
    return [json.loads(line) for line in said.splitlines()]
