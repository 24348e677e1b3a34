"""A whole service as a process of its own, beside a real Kafka and a real Postgres."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from driftloop_bus.kafka import KafkaLog
from driftloop_bus.testing import everything, publish
from driftloop_contracts.control_plane import CommandGiven
from driftloop_contracts.event import first
from driftloop_kit.testing import ServiceProcess, bare_environment
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

TOYS = Path(__file__).parent / "toys"
# From SIGTERM to the end.
PROMISED_S = 12.0


def toy_service(kafka: str, database: ServiceDatabase, folder: Path) -> ServiceProcess:
    return ServiceProcess("toy", kafka, folder, database.login_url, PYTHONPATH=str(TOYS))


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
    given = CommandGiven(command="freeze", model="m", given_by="test", reason=reason)
    await publish(kafka, "console", first(given, id=event_id, time=datetime.now(UTC)))


@pytest.fixture
def empty_database(stack: LocalStack) -> ServiceDatabase:
    return stack.create_service_database(f"toy_{os.urandom(4).hex()}")


async def test_it_waits_for_postgres_its_tables_and_kafka_and_says_for_which(
    stack: LocalStack, kafka: str, empty_database: ServiceDatabase, tmp_path: Path
) -> None:
    stack.hold("postgres")
    stack.hold("kafka")
    try:
        with toy_service(kafka, empty_database, tmp_path) as service:
            service.until_page("/ready", lambda report: "Postgres" in str(report["reasons"]))
            assert service.get("/live").status_code == 200
            assert service.get("/notes").status_code == 503
            await asyncio.to_thread(stack.release, "postgres")
            service.until_page("/ready", lambda report: "python -m toy migrate" in str(report["reasons"]))
            assert await toy("migrate", TOY_DATABASE_URL=empty_database.owner_url) == (
                0,
                "toy: 0001_ledger.sql, 0002_quarantine.sql, 0001_notes.sql\n",
            )
            service.until_page("/ready", lambda report: "postgres" not in report["reasons"])
            assert service.get("/ready").status_code == 503
            await asyncio.to_thread(stack.release, "kafka")
            service.until_ready()
            assert service.stop(PROMISED_S) == 0
    finally:
        stack.release("postgres")
        stack.release("kafka")


async def test_it_hears_acts_and_tells_and_ends_in_order(
    kafka: str, empty_database: ServiceDatabase, tmp_path: Path
) -> None:
    await toy("migrate", TOY_DATABASE_URL=empty_database.owner_url)
    event_id = os.urandom(8).hex()
    with toy_service(kafka, empty_database, tmp_path) as service:
        service.until_ready()
        await command(kafka, event_id, "heard")
        said = service.post("/notes/door?said=spoken", None)
        assert said.json() == {"id": "door"}
        service.until_page("/ready", lambda report: report["outbox_pending"] == 0)
        notes = service.until_page("/notes", lambda notes: len(notes) >= 3)
        assert notes["door"] == "spoken"
        assert notes[event_id] == "heard"
        assert notes[f"job-{event_id}"] == "echo of heard"
        assert service.post("/notes/door?said=again", None).status_code == 500
        slow = asyncio.create_task(asyncio.to_thread(service.get, "/slow"))
        await asyncio.to_thread(service.until_page, "/ready", lambda report: "slow_begun" in report)
        assert await asyncio.to_thread(service.stop, PROMISED_S) == 0
        assert (await slow).json() == {"answered": True}
        assert await told(kafka) >= {b"heard", b"spoken", b"echo of heard"}
        service.start()
        service.until_page("/ready", lambda report: "commands.v1" in report["positions"])
        assert service.page("/notes") == notes


async def told(kafka: str) -> set[bytes | None]:
    log = KafkaLog(kafka, "test")
    found = {record.value for record in await everything(log, "runs.v1")}
    await log.close()
    return found


async def test_killed_at_any_moment_it_loses_and_doubles_nothing(
    kafka: str, empty_database: ServiceDatabase, tmp_path: Path
) -> None:
    await toy("migrate", TOY_DATABASE_URL=empty_database.owner_url)
    ids = [os.urandom(8).hex() for _ in range(5)]
    with toy_service(kafka, empty_database, tmp_path) as service:
        for number, event_id in enumerate(ids):
            await command(kafka, event_id, f"number {number}")
            if number % 2:
                service.until_ready()
                # Somewhere between the poll and the relay's mark.
                await asyncio.sleep(number / 100)
            service.kill()
            service.start()
        service.until_ready()
        heard = {*ids, *(f"job-{event_id}" for event_id in ids)}
        notes = service.until_page("/notes", lambda notes: heard <= {*notes})
        service.until_page("/ready", lambda report: report["outbox_pending"] == 0)
        assert [notes[event_id] for event_id in ids] == [f"number {number}" for number in range(5)]
        assert [notes[f"job-{event_id}"] for event_id in ids] == [f"echo of number {number}" for number in range(5)]
        assert service.stop(PROMISED_S) == 0


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
        ({"TOY_HTTP_PORT": "0", "DRIFTLOOP_KAFKA": "a:1", "DRIFTLOOP_FAILPOINTS": "x.y=exit"}, "no failpoint 'x.y'"),
        (
            {
                "TOY_HTTP_PORT": "0",
                "DRIFTLOOP_KAFKA": "a:1",
                "DRIFTLOOP_MODE": "production",
                "DRIFTLOOP_FAILPOINTS": "relay.after_ack=exit",
            },
            "production does not die on demand",
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
    assert await toy("mirgate") == (
        64,
        "toy: unknown command 'mirgate'; known are migrate, try-record, or none to run it\n",
    )


async def test_while_postgres_hangs_it_says_so_soon_and_no_caller_waits_for_long(
    stack: LocalStack, kafka: str, empty_database: ServiceDatabase, tmp_path: Path
) -> None:
    await toy("migrate", TOY_DATABASE_URL=empty_database.owner_url)
    with toy_service(kafka, empty_database, tmp_path) as service:
        service.until_ready()
        postmaster = psutil.Process(stack.pid("postgres"))
        hanging = [postmaster, *postmaster.children(recursive=True)]
        for process in hanging:
            process.suspend()
        try:
            began = time.monotonic()
            answers = asyncio.gather(*(asyncio.to_thread(service.get, "/notes") for _ in range(4)))
            await service.eventually("/ready", lambda report: not report["ready"])
            not_ready_after_s = time.monotonic() - began
            assert service.get("/live").status_code == 200
            assert [answer.status_code for answer in await answers] == [503] * 4
            answered_after_s = time.monotonic() - began
        finally:
            for process in hanging:
                process.resume()
        service.until_ready()
        assert service.get("/notes").status_code == 200
        assert not_ready_after_s < 4
        assert answered_after_s < 8
