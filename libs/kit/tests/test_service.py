"""A whole service as a process of its own, beside a real Kafka and a real Postgres."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_contracts.control_plane import CommandGiven
from driftloop_contracts.event import first
from driftloop_kit.testing import WITHIN_S, RunningService, bare_environment, free_port, running
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

TOYS = Path(__file__).parent / "toys"


@asynccontextmanager
async def running_toy(log: Path, port: int, **settings: str) -> AsyncIterator[RunningService]:
    async with running("toy", log, {"PYTHONPATH": str(TOYS), **settings}, port=port) as service:
        yield service


async def notes_of(service: RunningService, *ids: str) -> dict[str, str]:
    notes: dict[str, str] = {}
    async with asyncio.timeout(WITHIN_S):
        while not {*ids} <= {*notes}:
            notes = (await service.client.get("/notes")).json()
            await asyncio.sleep(0.05)
    return notes


async def toy(*words: str, **settings: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "toy",
        *words,
        env=bare_environment() | {"PYTHONPATH": str(TOYS)} | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return int(process.returncode or 0), output.decode()


async def command(kafka: str, event_id: str, reason: str) -> None:
    log = KafkaLog(kafka, "test")
    given = CommandGiven(command="freeze", model="m", given_by="test", reason=reason)
    await (await log.producer()).send([encode(first(given, id=event_id, time=datetime.now(UTC)), "console")])
    await log.close()


@pytest.fixture
def empty_database(stack: LocalStack) -> ServiceDatabase:
    return stack.create_service_database(f"toy_{os.urandom(4).hex()}")


async def test_it_waits_for_postgres_its_tables_and_kafka_and_says_for_which(
    stack: LocalStack, kafka: str, empty_database: ServiceDatabase, tmp_path: Path
) -> None:
    given = {"TOY_DATABASE_URL": empty_database.login_url, "DRIFTLOOP_KAFKA": kafka}
    stack.hold("postgres")
    stack.hold("kafka")
    try:
        async with running_toy(tmp_path / "log", free_port(), **given) as service:
            await service.until(lambda report: "Postgres" in str(report["reasons"]))
            assert (await service.client.get("/live")).status_code == 200
            assert (await service.client.get("/notes")).status_code == 503
            await asyncio.to_thread(stack.release, "postgres")
            await service.until(lambda report: "python -m toy migrate" in str(report["reasons"]))
            assert await toy("migrate", TOY_DATABASE_URL=empty_database.owner_url) == (
                0,
                "toy: 0001_ledger.sql, 0001_notes.sql\n",
            )
            await service.until(lambda report: "postgres" not in report["reasons"])
            assert (await service.client.get("/ready")).status_code == 503
            await asyncio.to_thread(stack.release, "kafka")
            await service.is_ready()
            assert await service.end() == 0
    finally:
        stack.release("postgres")
        stack.release("kafka")


async def test_it_hears_acts_and_tells_and_ends_in_order(
    kafka: str, empty_database: ServiceDatabase, tmp_path: Path
) -> None:
    await toy("migrate", TOY_DATABASE_URL=empty_database.owner_url)
    given = {"TOY_DATABASE_URL": empty_database.login_url, "DRIFTLOOP_KAFKA": kafka}
    event_id, port = os.urandom(8).hex(), free_port()
    async with running_toy(tmp_path / "log", port, **given) as service:
        await service.is_ready()
        await command(kafka, event_id, "heard")
        assert (await service.client.post("/notes/door", params={"said": "spoken"})).json() == {"id": "door"}
        await service.until(lambda report: report["outbox_pending"] == 0)
        notes: dict[str, str] = {}
        async with asyncio.timeout(WITHIN_S):
            while len(notes) < 3:  # another process does not signal
                notes = (await service.client.get("/notes")).json()
                await asyncio.sleep(0.05)
        assert notes["door"] == "spoken"
        assert notes[event_id] == "heard"
        assert notes[f"job-{event_id}"] == "echo of heard"
        assert (await service.client.post("/notes/door", params={"said": "again"})).status_code == 500
        slow = asyncio.create_task(service.client.get("/slow"))
        await asyncio.sleep(0.2)
        assert await service.end() == 0
        assert (await slow).json() == {"answered": True}
    assert await told(kafka) >= {b"heard", b"spoken", b"echo of heard"}
    async with running_toy(tmp_path / "log", port, **given) as again:
        await again.until(lambda report: "commands.v1" in report["positions"])
        assert (await again.client.get("/notes")).json() == notes


async def told(kafka: str) -> set[bytes | None]:
    log = KafkaLog(kafka, "test")

    async def nothing(partitions: object) -> None:
        return None

    consumer = await log.consumer(["runs.v1"], None, nothing, nothing)
    found: set[bytes | None] = set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and len(found) < 3:
        for one in await consumer.poll(100, 200):
            found |= {record.value for record in one.records}
    await log.close()
    return found


async def test_killed_at_any_moment_it_loses_and_doubles_nothing(
    kafka: str, empty_database: ServiceDatabase, tmp_path: Path
) -> None:
    await toy("migrate", TOY_DATABASE_URL=empty_database.owner_url)
    given = {"TOY_DATABASE_URL": empty_database.login_url, "DRIFTLOOP_KAFKA": kafka}
    ids, port = [os.urandom(8).hex() for _ in range(5)], free_port()
    for number, event_id in enumerate(ids):
        async with running_toy(tmp_path / "log", port, **given) as service:
            await command(kafka, event_id, f"number {number}")
            if number % 2:
                await service.is_ready()
                # Somewhere between the poll and the relay's mark.
                await asyncio.sleep(number / 100)
    async with running_toy(tmp_path / "log", port, **given) as service:
        await service.is_ready()
        notes = await notes_of(service, *ids, *(f"job-{event_id}" for event_id in ids))
        await service.until(lambda report: report["outbox_pending"] == 0)
        assert [notes[event_id] for event_id in ids] == [f"number {number}" for number in range(5)]
        assert [notes[f"job-{event_id}"] for event_id in ids] == [f"echo of number {number}" for number in range(5)]
        assert await service.end() == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "TOY_HTTP_PORT"),
        ({"TOY_HTTP_PORT": "0"}, "DRIFTLOOP_KAFKA"),
        ({"TOY_HTTP_PORT": "0", "DRIFTLOOP_KAFKA": "a:1", "TOY_HTTP_HOST": "0.0.0.0"}, "DRIFTLOOP_API_KEY"),
        ({"TOY_HTTP_PORT": "0", "DRIFTLOOP_KAFKA": "a:1", "DRIFTLOOP_API_KEY": "short"}, "DRIFTLOOP_API_KEY"),
        ({"TOY_HTTP_PORT": "0", "DRIFTLOOP_KAFKA": "a:1", "DRIFTLOOP_MODE": "production"}, "DRIFTLOOP_API_KEY"),
        (
            {
                "TOY_HTTP_PORT": "0",
                "DRIFTLOOP_KAFKA": "a:1",
                "DRIFTLOOP_MODE": "production",
                "DRIFTLOOP_API_KEY": "k" * 40,
            },
            "SASL_SSL",
        ),
        (
            {"TOY_HTTP_PORT": "0", "DRIFTLOOP_KAFKA": "a:1", "TOY_DATABASE_URL": "mysql://x:hush@y/z"},
            "TOY_DATABASE_URL",
        ),
    ],
)
async def test_a_refusal_exits_78_and_names_the_setting(settings: dict[str, str], words: str) -> None:
    code, output = await toy(**settings)
    assert code == 78
    assert words in output
    assert "Traceback" not in output
    assert "hush" not in output


async def test_an_unknown_command_says_what_there_is() -> None:
    assert await toy("mirgate") == (64, "toy: unknown command 'mirgate'; known are migrate, or none to run it\n")


async def test_while_postgres_hangs_it_says_so_soon_and_no_caller_waits_for_long(
    stack: LocalStack, kafka: str, empty_database: ServiceDatabase, tmp_path: Path
) -> None:
    await toy("migrate", TOY_DATABASE_URL=empty_database.owner_url)
    given = {"TOY_DATABASE_URL": empty_database.login_url, "DRIFTLOOP_KAFKA": kafka}
    async with running_toy(tmp_path / "log", free_port(), **given) as service:
        await service.is_ready()
        postmaster = psutil.Process(stack.pid("postgres"))
        hanging = [postmaster, *postmaster.children(recursive=True)]
        for process in hanging:
            process.suspend()
        try:
            began = time.monotonic()
            calls = [service.client.get("/notes", timeout=10) for _ in range(4)]
            answers = asyncio.gather(*calls)
            await service.until(lambda report: not report["ready"])
            not_ready_after_s = time.monotonic() - began
            assert (await service.client.get("/live")).status_code == 200
            assert [answer.status_code for answer in await answers] == [503] * 4
            answered_after_s = time.monotonic() - began
        finally:
            for process in hanging:
                process.resume()
        await service.is_ready()
        assert (await service.client.get("/notes")).status_code == 200
        assert not_ready_after_s < 4
        assert answered_after_s < 8
