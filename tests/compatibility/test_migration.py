"""U3: every migration comes to a database that is in use: nobody waits long, what fails is undone, the last release runs on."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from tests.compatibility.aged import BROKEN, MENDED, SLOW, WIDENED, Aged, said_by, seconds_until
from tests.compatibility.old_release import KEEPING, old_release
from tests.compatibility.tables import LOCK_WAIT_MS, Used, fill, in_this_database, in_use, tables
from tests.faults.report import Report
from tests.faults.results import size

from driftloop_bus.errors import TryAgain
from driftloop_kit.schema import KIT, LEAST_REST_S, PATIENCE_S, migrations_of
from driftloop_kit.upgrading import Upgrade
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]

ROWS, READS_S, REST_S = {"fast": (2_000, 3.0, 3.0), "whole": (100_000, 15.0, 30.0)}[size()]
# What is used before and after, so that there is something to disturb.
AROUND_S: Final = 0.5
# The kit's settings free the locks of one who is gone within five seconds.
UNDONE_WITHIN_S: Final = 10.0
OWNER_WAITS: Final = """
SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE NOT granted AND locktype = 'relation' AND datname = current_database() AND usename LIKE '%\\_owner'
"""
OWNER_SLEEPS: Final = "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
OWNER_IS_GONE: Final = """
SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE '%\\_owner'
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the parts have measured."""
    return {"used": Used()}


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Aged:
    return Aged(tmp_path_factory.mktemp("aged"), f"aged_{uuid.uuid4().hex[:8]}")


async def test_each_file_comes_to_tables_that_are_used(stack: LocalStack, found: dict[str, Any]) -> None:
    applied = []
    for service in KEEPING:
        made = await asyncio.to_thread(stack.create_service_database, f"{service}_{uuid.uuid4().hex[:8]}")
        applied += await one_by_one(stack, made, service, found["used"])
    found["files"] = len(applied)
    wanted = [one.name for service in KEEPING for one in (*migrations_of(KIT), *migrations_of(service))]
    assert applied == wanted


async def one_by_one(stack: LocalStack, made: ServiceDatabase, service: str, used: Used) -> list[str]:
    """The files that were applied, each while all the tables that were there before it, and full, were used."""
    upgrade, admin_url = Upgrade(service, made.owner_url), in_this_database(stack, made)
    admin = await asyncpg.connect(admin_url)
    applied, there = [], list[str]()
    try:
        while True:
            done, met = await beside_clients(upgrade, made, admin_url, there)
            used.add(met)
            if done is None:
                return applied
            applied.append(done)
            new = [table for table in await tables(admin) if table not in there]
            await fill(admin, new, ROWS)
            there += new
    finally:
        await upgrade.close()
        await admin.close()


async def beside_clients(
    upgrade: Upgrade, made: ServiceDatabase, admin_url: str, there: list[str]
) -> tuple[str | None, Used]:
    """The next file, while these tables are used."""
    if not there:
        return await upgrade.next(), Used()
    async with in_use(made.login_url, admin_url, there) as met:
        await asyncio.sleep(AROUND_S)
        done = await patiently(upgrade)
        await asyncio.sleep(AROUND_S)
    return done, met


async def patiently(upgrade: Upgrade, within_s: float = PATIENCE_S) -> str | None:
    """As `migrate` does it for all files."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                return await upgrade.next()
            except TryAgain:
                await asyncio.sleep(LEAST_REST_S)


async def test_a_long_reader_holds_up_the_migration_alone(stack: LocalStack, aged: Aged, found: dict[str, Any]) -> None:
    made, admin_url = await aged.database(stack, ROWS)
    aged.write("0002_widened.sql", WIDENED)
    reader = await asyncpg.connect(made.login_url)
    try:
        async with in_use(made.login_url, admin_url, ["thing"]) as met:
            async with reader.transaction():
                await reader.fetchval("SELECT count(*) FROM thing")
                migrating = aged.migrating(made.owner_url)
                await seconds_until(admin_url, OWNER_WAITS)
                await asyncio.sleep(READS_S)
                assert migrating.poll() is None, "it did not wait for the reader"
                waited_ms, before = met.lock_wait_ms, met.transactions
            free_at = time.monotonic()
            assert await said_by(migrating) == "['0002_widened.sql']"
            found["applied_s"] = round(time.monotonic() - free_at, 1)
            await asyncio.sleep(AROUND_S)
    finally:
        await reader.close()
    assert met.transactions > before, "nobody used the table afterwards"
    # Somebody did wait behind it: without that nothing was shown.
    found |= {"readers_s": READS_S, "behind_reader_ms": round(waited_ms), "unwaited": int(waited_ms == 0)}
    found["used"].add(met)


async def test_what_failed_or_was_killed_half_way_is_undone(
    stack: LocalStack, aged: Aged, found: dict[str, Any]
) -> None:
    made, admin_url = await aged.database(stack, ROWS)
    before = await aged.state(admin_url)
    async with in_use(made.login_url, admin_url, ["thing"]) as met:
        aged.write("0003_changed.sql", BROKEN)
        failing = aged.migrating(made.owner_url)
        assert "DivisionByZeroError" in await said_by(failing, fails=True)
        found["left_by_failed"] = int(await aged.state(admin_url) != before)
        aged.write("0003_changed.sql", SLOW)
        killed = aged.migrating(made.owner_url)
        await seconds_until(admin_url, OWNER_SLEEPS)
        killed.kill()
        found["undone_s"] = await seconds_until(admin_url, OWNER_IS_GONE)
        await said_by(killed, fails=True)
        found["left_by_killed"] = int(await aged.state(admin_url) != before)
        aged.write("0003_changed.sql", MENDED)
        assert await said_by(aged.migrating(made.owner_url)) == "['0003_changed.sql']"
    found["used"].add(met)


async def test_the_release_before_runs_on_while_its_tables_change(
    stack: LocalStack, kafka: str, tmp_path: Path, found: dict[str, Any]
) -> None:
    found |= await old_release(stack, kafka, tmp_path, REST_S, found["used"])


def test_u3(report: Report, found: dict[str, Any]) -> None:
    used: Used = found.pop("used")
    report(
        "U3", found.pop("verdict"), unwidened=-found["widened"], lock_wait_ms=round(used.lock_wait_ms),
        waited_too_long=used.refused, slowest_ms=round(used.slowest_ms), transactions=used.transactions, **found,
        bounds={"lock_wait_ms": LOCK_WAIT_MS, "waited_too_long": 0, "unwaited": 0, "left_by_failed": 0, "left_by_killed": 0,
                "undone_s": UNDONE_WITHIN_S, "unwidened": -1, "dead_letters": 0, "non_2xx": 0, "commands_refused": 0,
                "restarts": 0},
    )  # fmt: skip
