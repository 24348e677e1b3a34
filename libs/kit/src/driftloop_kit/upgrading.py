"""One migration after the other, beside services that use the tables: alembic's steps, each a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from types import ModuleType
from typing import Any, Final, cast

import asyncpg
from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.script.base import Script
from alembic.script.revision import RevisionMap
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only

from driftloop_bus.errors import TryAgain
from driftloop_kit.database import SERVER_SETTINGS, plain_url
from driftloop_kit.hosts import Hosts
from driftloop_kit.schema import KIT, Migration, migrations_of, version_table

# Whoever comes after a statement that waits for a whole table waits behind it, also those who would disturb nobody.
LOCK_WAIT_MS: Final = 100
# No lock in time, or a deadlock of which this was chosen.
_BUSY: Final = frozenset({"55P03", "40P01"})
# One that is stopped half-way keeps its locks no longer than others; a long one may be long.
_SETTINGS: Final = {
    name: value for name, value in SERVER_SETTINGS.items() if name not in {"transaction_timeout", "lock_timeout"}
}
# Two migrations of one database wait for each other.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('driftloop.migrations'), 0)"
# The role that runs the service bears the database's name; it owns nothing.
_GRANT: Final = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_database() AND rolname <> current_user) THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %I', current_database());
        EXECUTE format('GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO %I', current_database());
    END IF;
END $$
"""


class Upgrade:
    """What is missing in one database, file by file."""

    def __init__(self, package: str, owner_url: str) -> None:
        self._package = package
        # Where the database is, asyncpg is told by us: SQLAlchemy's addresses have one host.
        connect = partial(Hosts(plain_url(owner_url)).connect, server_settings=_SETTINGS)
        self._engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)

    async def next(self) -> str | None:
        """The next missing file is applied; None when none is missing. Raises TryAgain, with nothing done, when a table is busy."""
        try:
            async with self._engine.begin() as connection:
                await connection.execute(text(_LOCK))
                await connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
                done = await connection.run_sync(_apply_next, self._package)
                await connection.exec_driver_sql(_GRANT)
                return done
        except (asyncpg.PostgresError, DBAPIError) as error:
            if _state(error) not in _BUSY:
                raise
            raise TryAgain(
                f"{self._package}: a migration gets no lock, a transaction on its table stays open"
            ) from error

    async def close(self) -> None:
        """Nothing is connected."""
        await self._engine.dispose()


def _state(error: asyncpg.PostgresError | DBAPIError) -> str | None:
    """Postgres' code; SQLAlchemy wraps what its own statements were told, and not what a file was."""
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)


def _apply_next(connection: SyncConnection, package: str) -> str | None:
    for name in (KIT, package):
        if (migrations := migrations_of(name)) and (done := _step(connection, version_table(name), migrations)):
            return done
    return None


def _step(connection: SyncConnection, table: str, migrations: Sequence[Migration]) -> str | None:
    applied: list[str] = []

    def next_step(current: tuple[str, ...], context: MigrationContext) -> Iterable[RevisionStep]:
        return _missing(connection, migrations, current[0] if current else None, applied)[:1]

    MigrationContext.configure(connection, opts={"fn": next_step, "version_table": table}).run_migrations()
    return applied[0] if applied else None


def _missing(
    connection: SyncConnection, migrations: Sequence[Migration], current: str | None, applied: list[str]
) -> list[RevisionStep]:
    scripts = [
        Script(_module(connection, migration, below, applied), migration.number, migration.name)
        for migration, below in zip(migrations, [None, *migrations[:-1]], strict=True)
    ]
    revisions = RevisionMap(lambda: scripts)
    missing = reversed(list(revisions.iterate_revisions("heads", current or "base")))
    return [MigrationStep.upgrade_from_script(revisions, cast(Script, script)) for script in missing]


def _module(
    connection: SyncConnection, migration: Migration, below: Migration | None, applied: list[str]
) -> ModuleType:
    """What alembic takes for a revision's file."""

    def upgrade() -> None:
        # The driver's own `execute` takes a whole file of statements; SQLAlchemy's would prepare it as one.
        driver: Any = connection.connection.driver_connection
        await_only(driver.execute(migration.sql))
        applied.append(migration.name)

    module = ModuleType(migration.name)
    vars(module).update(down_revision=below.number if below else None, upgrade=upgrade)
    return module
