"""A record that kills its reader, on a real Kafka and a real Postgres: passed by after four deaths, and nothing is lost."""

from __future__ import annotations

import os
import time
from pathlib import Path

from libs.kit.tests.test_service import command, toy, toy_service

from driftloop_bus.kafka import KafkaLog
from driftloop_bus.testing import everything
from driftloop_bus.topics import ensure_these
from driftloop_kit.testing import ServiceProcess
from driftloop_local.stack import LocalStack

WITHIN_S = 60.0
DEAD = "commands.v1.toy.dead"


async def test_a_record_that_kills_the_process_is_passed_by(stack: LocalStack, kafka: str, tmp_path: Path) -> None:
    database = stack.create_service_database(f"toy_{os.urandom(4).hex()}")
    await toy("migrate", TOY_DATABASE_URL=database.owner_url)
    await ensure_these(kafka, {DEAD: (1, {})})
    for event_id, reason in (("one", "good"), ("two", "deadly"), ("three", "good as well")):
        await command(kafka, event_id, reason)
    with toy_service(kafka, database, tmp_path) as service:
        deaths = died_until_it_heard(service, "three")
        notes = service.until_page("/notes", lambda notes: {"one", "three"} <= {*notes})
        service.until_page("/ready", lambda report: report["outbox_pending"] == 0)
        assert service.stop() == 0
    # Twice among others, twice alone; the fifth time it was a process that was there for this record only.
    assert deaths == 4
    assert "two" not in notes
    log = KafkaLog(kafka, "test")
    (letter,) = await everything(log, DEAD)
    await log.close()
    headers = dict(letter.headers)
    assert (headers["dead_error"], headers["dead_by_reference"], headers["ce_id"]) == (b"Killer", b"1", b"two")
    assert letter.value == b""


def died_until_it_heard(service: ServiceProcess, event_id: str) -> int:
    """How often it was started anew."""
    for deaths in range(8):
        deadline = time.monotonic() + WITHIN_S
        while service.process.poll() is None and time.monotonic() < deadline:
            if event_id in (service.page("/notes") or {}):
                return deaths
            time.sleep(0.05)
        service.start()
    raise AssertionError(service.log_tail())
