"""A package whose migrations a check writes itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import asyncpg
from tests.compatibility.tables import fill, in_this_database
from tests.faults.reading import until

from driftloop_kit.schema import version_table
from driftloop_kit.testing import bare_environment
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

CREATED: Final = "CREATE TABLE thing (id bigint PRIMARY KEY, name text NOT NULL);"
WIDENED: Final = "ALTER TABLE thing ADD COLUMN colour text NOT NULL DEFAULT 'red';"
# Half of it is done when it fails.
BROKEN: Final = """
CREATE TABLE other (id bigint PRIMARY KEY);
UPDATE thing SET name = name || '!' WHERE id < 100;
ALTER TABLE thing ADD COLUMN size integer;
SELECT 1 / 0;
"""
# Half of it is done while it works on; it holds nothing that others need.
SLOW: Final = "CREATE TABLE other (id bigint PRIMARY KEY); INSERT INTO other VALUES (1); SELECT pg_sleep(60);"
MENDED: Final = "ALTER TABLE thing ADD COLUMN size integer;"
WITHIN_S: Final = 120.0
_SCHEMA: Final = """
SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY 1, 2
"""
_MAIN: Final = (
    "import asyncio, sys; from driftloop_kit.schema import migrate; print(asyncio.run(migrate(*sys.argv[1:])))"
)


class Aged:
    """One such package."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self._folder = name, folder / name
        (self._folder / "migrations").mkdir(parents=True)
        (self._folder / "__init__.py").touch()

    def write(self, name: str, sql: str) -> None:
        """The file is as given."""
        (self._folder / "migrations" / name).write_text(sql)

    def migrating(self, owner_url: str) -> subprocess.Popen[str]:
        """A process of its own does it."""
        environment = bare_environment() | {"PYTHONPATH": os.fspath(self._folder.parent)}
        command = [sys.executable, "-c", _MAIN, self.name, owner_url]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    async def database(self, stack: LocalStack, rows: int) -> tuple[ServiceDatabase, str]:
        """One with a full table, as the files up to now leave it; and the administrator's address of it."""
        made = await asyncio.to_thread(stack.create_service_database, f"{self.name}_{os.urandom(2).hex()}")
        self.write("0001_created.sql", CREATED)
        await said_by(self.migrating(made.owner_url))
        admin = await asyncpg.connect(in_this_database(stack, made))
        try:
            await fill(admin, ["thing"], rows)
        finally:
            await admin.close()
        return made, in_this_database(stack, made)

    async def state(self, url: str) -> tuple[Any, ...]:
        """Columns, the newest file, and how many rows a broken one has touched."""
        connection = await asyncpg.connect(url)
        try:
            columns = [tuple(row) for row in await connection.fetch(_SCHEMA)]
            newest = await connection.fetchval(f"SELECT version_num FROM {version_table(self.name)}")
            rows = await connection.fetchrow("SELECT count(*), count(*) FILTER (WHERE name LIKE '%!') FROM thing")
            return columns, newest, tuple(rows)
        finally:
            await connection.close()


async def said_by(migrating: subprocess.Popen[str], *, fails: bool = False) -> str:
    """What it said on its end. Raises AssertionError when it ended otherwise."""
    out, errors = await asyncio.to_thread(migrating.communicate, timeout=WITHIN_S)
    assert (migrating.returncode != 0) == fails, errors
    return errors if fails else out.strip()


async def seconds_until(url: str, so: str) -> float:
    """Until the query says true."""
    began = time.monotonic()
    connection = await asyncpg.connect(url)
    try:
        await until(connection, so, WITHIN_S)
    finally:
        await connection.close()
    return round(time.monotonic() - began, 1)
