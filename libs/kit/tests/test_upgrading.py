"""Migrations on a database that is in use: short waits, and a file is done whole or not at all."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import asyncpg
import pytest

from driftloop_bus.errors import TryAgain
from driftloop_kit.database import Database, open_database
from driftloop_kit.schema import migrate
from driftloop_kit.upgrading import LOCK_WAIT_MS
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

CREATED = "CREATE TABLE thing (id integer PRIMARY KEY); INSERT INTO thing VALUES (1);"
WIDENED = "ALTER TABLE thing ADD COLUMN colour text NOT NULL DEFAULT 'red';"
BROKEN = f"{WIDENED} CREATE TABLE other (id integer); SELECT 1 / 0;"
COLUMNS = "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable package with a first migration; the name differs from test to test."""
    name = f"aged_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name / "migrations").mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "migrations" / "0001_created.sql").write_text(CREATED)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
async def there(stack: LocalStack, package: str) -> ServiceDatabase:
    """Its database, as the first migration leaves it."""
    made = stack.create_service_database(package[:60])
    assert (await migrate(package, made.owner_url))[-1] == "0001_created.sql"
    return made


def add(folder: Path, package: str, sql: str) -> None:
    (folder / package / "migrations" / "0002_changed.sql").write_text(sql)


async def columns(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {row[0] for row in await connection.fetch(COLUMNS) if not row[0].startswith("_")}
    finally:
        await connection.close()


async def test_nobody_waits_long_behind_a_migration_that_waits(
    package: str, there: ServiceDatabase, tmp_path: Path
) -> None:
    add(tmp_path, package, WIDENED)
    reader, client = [await asyncpg.connect(there.login_url) for _ in range(2)]
    try:
        async with reader.transaction():
            await reader.fetch("SELECT * FROM thing")
            migrating = asyncio.create_task(migrate(package, there.owner_url))
            until, slowest_s = time.monotonic() + 2.0, 0.0
            while time.monotonic() < until:
                began = time.monotonic()
                await client.execute("UPDATE thing SET id = id")
                slowest_s = max(slowest_s, time.monotonic() - began)
            assert not migrating.done()
        assert await migrating == ["0002_changed.sql"]
    finally:
        await reader.close()
        await client.close()
    # It did wait behind the migration, and no longer than that waited.
    assert 0.5 * LOCK_WAIT_MS < 1000 * slowest_s < 5 * LOCK_WAIT_MS


async def test_a_table_that_is_never_free_is_told_of_and_nothing_is_done(
    package: str, there: ServiceDatabase, tmp_path: Path
) -> None:
    add(tmp_path, package, f"CREATE TABLE other (id integer); {WIDENED}")
    before = await columns(there.owner_url)
    reader = await asyncpg.connect(there.login_url)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT * FROM thing")
            with pytest.raises(TryAgain, match="gets no lock"):
                await migrate(package, there.owner_url, patience_s=0.5)
    finally:
        await reader.close()
    assert await columns(there.owner_url) == before


async def test_what_a_failed_migration_began_is_undone(package: str, there: ServiceDatabase, tmp_path: Path) -> None:
    before = await columns(there.owner_url)
    add(tmp_path, package, BROKEN)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(package, there.owner_url)
    assert await columns(there.owner_url) == before
    add(tmp_path, package, WIDENED)
    assert await migrate(package, there.owner_url) == ["0002_changed.sql"]
    assert await columns(there.owner_url) == before | {"thing.colour"}


async def test_a_service_that_read_the_table_before_reads_it_again(
    package: str, there: ServiceDatabase, tmp_path: Path
) -> None:
    database = await open_database(there.login_url)
    try:
        assert await things(database) == [(1,)]
        add(tmp_path, package, WIDENED)
        await migrate(package, there.owner_url)
        with pytest.raises(TryAgain):
            await things(database)
        assert await things(database) == [(1, "red")]
    finally:
        await database.close()


async def things(database: Database) -> list[tuple[object, ...]]:
    async with database.batch() as connection, connection.transaction():
        return [tuple(row) for row in await connection.fetch("SELECT * FROM thing")]


async def test_two_that_migrate_at_once_apply_each_file_once(
    package: str, there: ServiceDatabase, tmp_path: Path
) -> None:
    add(tmp_path, package, WIDENED)
    both = await asyncio.gather(*(migrate(package, there.owner_url) for _ in range(2)))
    assert sorted(both) == [[], ["0002_changed.sql"]]
