"""A service's tables: plain SQL files, applied in order by alembic, the kit's own first.

A package keeps them as `migrations/NNNN_name.sql`; which were applied stands in a version table of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from driftloop_kit.database import Connection, plain_url
from driftloop_kit.hosts import Hosts

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from sqlalchemy import Connection as SyncConnection

KIT: Final = "driftloop_kit"
_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
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


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file."""

    number: str
    name: str
    sql: str


def migrations_of(package: str) -> list[Migration]:
    """The package's SQL files in order. Raises ValueError when numbers are not 0001, 0002, ..."""
    folder = files(package) / "migrations"
    if not folder.is_dir():
        return []
    found = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    wrong = [name for place, name in enumerate(found, 1) if not _NAME.fullmatch(name) or int(name[:4]) != place]
    if wrong:
        raise ValueError(f"migrations of {package} are numbered 0001_name.sql, 0002_name.sql, ...; got {found}")
    return [Migration(name[:4], name, (folder / name).read_text(encoding="utf-8")) for name in found]


def version_table(package: str) -> str:
    """Where the package's newest applied number stands."""
    return f"{package}_version"


async def migrate(package: str, owner_url: str) -> list[str]:
    """The database is at the package's newest migration and the kit's; returns the files that were applied.

    owner_url: of the role that owns the tables. All of it is one transaction.
    """
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    # Where the database is, asyncpg is told by us: SQLAlchemy's addresses have one host.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=Hosts(plain_url(owner_url)).connect)
    applied: list[str] = []
    try:
        async with engine.begin() as connection:
            await connection.execute(text(_LOCK))
            for name in (KIT, package):
                await connection.run_sync(_upgrade, name, applied)
            await connection.exec_driver_sql(_GRANT)
    finally:
        await engine.dispose()
    return applied


async def behind(connection: Connection, package: str) -> str | None:
    """Why the database is not what the code needs, or None when it is."""
    for name in (KIT, package):
        wanted = migrations_of(name)
        if not wanted:
            continue
        table = version_table(name)
        there = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table)
        stored = await connection.fetchval(f"SELECT version_num FROM {table}") if there else None
        if (stored or "0000") < wanted[-1].number:
            has = f"at migration {stored}" if stored else "empty"
            return f"the database is {has}, {wanted[-1].name} is needed: python -m {package} migrate"
    return None


def _upgrade(connection: SyncConnection, package: str, applied: list[str]) -> None:
    from alembic.runtime.migration import MigrationContext

    migrations = migrations_of(package)
    if not migrations:
        return

    def steps(current: tuple[str, ...], context: MigrationContext) -> Iterable[RevisionStep]:
        return _steps(connection, migrations, current[0] if current else None, applied)

    context = MigrationContext.configure(connection, opts={"fn": steps, "version_table": version_table(package)})
    context.run_migrations()


def _steps(
    connection: SyncConnection, migrations: Sequence[Migration], current: str | None, applied: list[str]
) -> list[RevisionStep]:
    from alembic.runtime.migration import MigrationStep
    from alembic.script.base import Script
    from alembic.script.revision import RevisionMap

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
    from sqlalchemy.util import await_only

    def upgrade() -> None:
        # The driver's own `execute` takes a whole file of statements; SQLAlchemy's would prepare it as one.
        driver: Any = connection.connection.driver_connection
        await_only(driver.execute(migration.sql))
        applied.append(migration.name)

    module = ModuleType(migration.name)
    vars(module).update(down_revision=below.number if below else None, upgrade=upgrade)
    return module
