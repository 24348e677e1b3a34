"""R3: a registry is backed up while people change things at it, all is lost, and a new stack is filled from the backup.

Then row 32 on that stack: topics vanish, what the outbox remembers is said again, and whoever read them says that they are gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.faults.account import Account, Line, told
from tests.faults.registry_changes import Changes, Door
from tests.faults.registry_view import differences, effects, said
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.test_registry_events import begun, everything_heard, until
from tests.faults.verdict import judge

from driftloop_bus.kafka import KafkaLog
from driftloop_bus.kafka.administration import delete_topics
from driftloop_bus.topics import ensure_topics
from driftloop_contracts.topics import COMMANDS, REGISTRY
from driftloop_kit.schema import migrate
from driftloop_kit.testing import ServiceProcess
from driftloop_local import saved
from driftloop_local.backup import back_up, restore
from driftloop_local.errors import StackRefused
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]

SEED = 3
CHANGED_S = {"fast": 4.0, "whole": 60.0}[size()]
BLOB = b"the weights of a model"
RTO_S, GAP_S = 300.0, 10.0


async def test_a_stack_is_as_it_was_at_the_backup(report: Report, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with a_folder() as folder, LocalStack(folder, {"kafka", "postgres"}) as stack:
        (stack.home.artifacts / "blob").write_bytes(BLOB)
        lines, manifest = await changed_and_saved(stack, backup, tmp_path)
    assert list(saved.damages(backup, manifest)) == []
    began = time.monotonic()
    with a_folder() as folder, LocalStack(folder, {"kafka", "postgres"}) as stack:
        await restore(stack.home, backup, lambda kind, more: None)
        with pytest.raises(StackRefused, match="not empty"):
            await restore(stack.home, backup, lambda kind, more: None)
        assert (stack.home.artifacts / "blob").read_bytes() == BLOB
        url, log = stack.create_service_database("registry").login_url, KafkaLog(stack.kafka, "r3")
        with ServiceProcess("registry", stack.kafka, tmp_path, url) as registry:
            await asyncio.to_thread(registry.until_ready)
            await until(lambda: everything_heard(registry, log))
            rto_s = time.monotonic() - began
            found = await said(log)
            eventless, changeless = await differences(url, found)
            gone = await topics_vanish(stack, registry, url, log)
        await log.close()
    report(
        "R3", judge(as_of(lines, manifest.begun_at), effects(found)), seed=SEED, rto_s=round(rto_s, 1),
        changes_without_event=len(eventless), events_without_change=len(changeless), **gone,
        bounds={"rto_s": RTO_S, "gap_told_s": GAP_S, "not_republished": 0, "changes_without_event": 0,
                "events_without_change": 0},
    )  # fmt: skip


async def changed_and_saved(stack: LocalStack, backup: Path, folder: Path) -> tuple[list[Line], saved.Manifest]:
    """What people were told, before and while the stack was saved, and after it."""
    database, log = stack.create_service_database("registry"), KafkaLog(stack.kafka, "r3")
    await ensure_topics(stack.kafka)
    await migrate("registry", database.owner_url)
    registry = ServiceProcess("registry", stack.kafka, folder, database.login_url)
    with registry, Account(folder / "told") as account:
        changes = Changes(account, Door(registry.url))
        changing = await begun(changes, registry, log)
        await asyncio.sleep(CHANGED_S)
        manifest = await back_up(stack.home, backup, lambda kind, more: None)
        await asyncio.sleep(1.0)
        changes.stop.set()
        await asyncio.gather(*changing)
    await log.close()
    return told(account.path), manifest


def as_of(lines: list[Line], begun_at: str) -> list[Line]:
    """Nobody was promised that what came after the recovery point is there; nor that it is not."""
    point = datetime.fromisoformat(begun_at).timestamp()
    return [line if line.t < point else replace(line, state="indefinite") for line in lines]


async def topics_vanish(stack: LocalStack, registry: ServiceProcess, url: str, log: KafkaLog) -> dict[str, Any]:
    """Row 32: both topics are made anew, empty; what was acked on the one goes out again, the other's gap is told."""
    await asyncio.to_thread(registry.stop)
    remembered = await acked(url, REGISTRY.name)
    assert remembered
    await delete_topics({"bootstrap_servers": stack.kafka, "client_id": "r3"}, [REGISTRY.name, COMMANDS.name])
    await made_anew(stack.kafka)
    began = time.monotonic()
    registry.start()
    await until(lambda: gap_is_told(registry))
    gap_s = time.monotonic() - began

    async def all_again() -> bool:
        return sum((await log.end_offsets([REGISTRY.name])).values()) >= remembered

    again_s = await until(all_again)
    there = sum((await log.end_offsets([REGISTRY.name])).values())
    return {"gap_told_s": round(gap_s, 2), "outbox_rows": remembered, "republished": there,
            "not_republished": abs(remembered - there), "republished_s": round(again_s, 2)}  # fmt: skip


async def made_anew(kafka: str) -> None:
    async def made() -> bool:
        return len(await ensure_topics(kafka)) == 0

    # The broker forgets a deleted topic a moment later; until then it is neither there nor can be made.
    await asyncio.sleep(1.0)
    await until(made)


async def acked(url: str, topic: str) -> int:
    """How many rows of the outbox the log has acked."""
    connection = await asyncpg.connect(url)
    try:
        return int(
            await connection.fetchval("SELECT count(*) FROM outbox WHERE topic = $1 AND acked_offset >= 0", topic)
        )
    finally:
        await connection.close()


async def gap_is_told(registry: ServiceProcess) -> bool:
    """Whether the registry says at its door that records are missing."""
    try:
        return "OffsetGap" in json.dumps(await asyncio.to_thread(registry.ready))
    except OSError:
        return False


@contextmanager
def a_folder() -> Iterator[Path]:
    """Short, and passable for the user that Postgres runs as."""
    with tempfile.TemporaryDirectory(prefix="r3-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "s" if os.geteuid() else Path(folder)
