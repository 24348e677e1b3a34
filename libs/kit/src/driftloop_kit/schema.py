"""A service's tables: plain SQL files, applied in order by alembic, the kit's own first.

A package keeps them as `migrations/NNNN_name.sql`; which were applied stands in a version table of its own.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, TypeVar

from driftloop_bus.backoff import Backoff
from driftloop_bus.errors import TryAgain
from driftloop_kit.database import Connection

KIT: Final = "driftloop_kit"
_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
T = TypeVar("T")
# Longer than any transaction of a service: one that is open for so long has been forgotten.
PATIENCE_S: Final = 60.0
# Between two tries those who waited behind one of them catch up.
LEAST_REST_S: Final = 0.3
MOST_REST_S: Final = 2.0


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


async def migrate(package: str, owner_url: str, patience_s: float = PATIENCE_S) -> list[str]:
    """The database is at the package's newest migration and the kit's; returns the files that were applied.

    owner_url: of the role that owns the tables. A file is one transaction: done whole, or not begun. It may come while
    services use the tables: where it gets no lock soon (`upgrading.LOCK_WAIT_MS`) it is undone and tried again, so that nobody
    waits behind it for longer. Raises TryAgain when a file has got none for patience_s.
    """
    from driftloop_kit.upgrading import Upgrade

    upgrade = Upgrade(package, owner_url)
    applied: list[str] = []
    try:
        while (done := await _patiently(upgrade.next, patience_s)) is not None:
            applied.append(done)
    finally:
        await upgrade.close()
    return applied


async def _patiently(attempt: Callable[[], Awaitable[T]], patience_s: float) -> T:
    deadline, backoff = time.monotonic() + patience_s, Backoff(LEAST_REST_S, MOST_REST_S)
    while True:
        try:
            return await attempt()
        except TryAgain:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(backoff.next_s())


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
