"""Tables that are full and in use: clients that read and write all of them, and how long anybody waits for a lock."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from driftloop_local.databases import ServiceDatabase, in_database
from driftloop_local.stack import LocalStack

LOCK_WAIT_MS: Final = 200
"""The promise. Who waits for longer is told 55P03 by Postgres itself, so that none is missed."""
LOOK_S: Final = 0.01
CLIENTS: Final = 8
# As the batches of a service: most are short, some work for a while.
LONGEST_TRANSACTION_S: Final = 0.1
_TABLES: Final = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT LIKE '%\\_version'
ORDER BY 1
"""
_COLUMNS: Final = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attidentity <> 'a' ORDER BY attnum
"""
_WAITS: Final = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)::float8
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE NOT granted AND locktype = 'relation' AND datname = $1 AND usename NOT LIKE '%\\_owner'
"""
_VALUES: Final = {
    "text": "'x' || n", "integer": "n", "bigint": "n", "double precision": "n", "boolean": "false", "json": "'{}'",
    "bytea": "'\\x00'", "timestamp with time zone": "now()", "timestamp with time zone[]": "'{}'", "text[]": "'{}'",
    "uuid": "gen_random_uuid()",
}  # fmt: skip
_CHOSEN: Final = {("request", "state"): "'waiting'"}
"""Where not every text will do."""


async def tables(connection: Any) -> list[str]:
    """All there are, without those that say which migrations were applied."""
    return [str(row[0]) for row in await connection.fetch(_TABLES)]


async def fill(connection: Any, wanted: Sequence[str], count: int) -> None:
    """Each of these tables has so many rows more. The connection is an administrator's: rows need not fit others."""
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for table in wanted:
            columns = await _columns(connection, table)
            names = ", ".join(f'"{name}"' for name, _ in columns)
            values = ", ".join(_CHOSEN.get((table, name), _VALUES[kind]) for name, kind in columns)
            await connection.execute(
                f'INSERT INTO "{table}" ({names}) SELECT {values} FROM generate_series(1, $1) AS n', count
            )


async def _columns(connection: Any, table: str) -> list[tuple[str, str]]:
    return [(str(name), str(kind)) for name, kind in await connection.fetch(_COLUMNS, f'"{table}"')]


@dataclass
class Used:
    """What the clients of a database met with."""

    statements: int = 0
    refused: int = 0
    """Statements that waited for a lock longer than is promised."""
    slowest_ms: float = 0.0
    lock_wait_ms: float = 0.0
    """The longest wait for a table that was seen; looked at each 10 ms."""
    transactions: int = 0
    """Those that were committed."""

    def add(self, other: Used) -> None:
        """All of it together."""
        self.statements, self.refused = self.statements + other.statements, self.refused + other.refused
        self.transactions += other.transactions
        self.slowest_ms = max(self.slowest_ms, other.slowest_ms)
        self.lock_wait_ms = max(self.lock_wait_ms, other.lock_wait_ms)


def in_this_database(stack: LocalStack, made: ServiceDatabase) -> str:
    """The administrator's address of it."""
    return in_database(stack.postgres, made.owner_url.rpartition("/")[2])


@asynccontextmanager
async def in_use(login_url: str, admin_url: str, wanted: Sequence[str]) -> AsyncIterator[Used]:
    """Clients read and write these tables while the block runs. Raises what any of them was told, unless it was to wait."""
    used, over = Used(), asyncio.Event()
    written = await _columns_to_write(admin_url, wanted)
    working = [asyncio.create_task(_client(login_url, written, used, over, number)) for number in range(CLIENTS)]
    watching = asyncio.create_task(watch(admin_url, used, over))
    try:
        yield used
    finally:
        over.set()
        await asyncio.gather(watching, *working)


async def watch(admin_url: str, used: Used, over: asyncio.Event) -> None:
    """How long others than the owner of the tables wait for one of them."""
    connection = await asyncpg.connect(admin_url)
    try:
        database = await connection.fetchval("SELECT current_database()")
        while not over.is_set():
            waits_ms = 1000 * await connection.fetchval(_WAITS, database)
            used.lock_wait_ms = max(used.lock_wait_ms, waits_ms)
            await asyncio.sleep(LOOK_S)
    finally:
        await connection.close()


async def _columns_to_write(admin_url: str, wanted: Sequence[str]) -> dict[str, str]:
    connection = await asyncpg.connect(admin_url)
    try:
        return {table: (await _columns(connection, table))[0][0] for table in wanted}
    finally:
        await connection.close()


async def _client(url: str, written: dict[str, str], used: Used, over: asyncio.Event, number: int) -> None:
    chance = random.Random(number)
    connection = await asyncpg.connect(url, server_settings={"lock_timeout": str(LOCK_WAIT_MS)})
    try:
        while not over.is_set():
            table = chance.choice(list(written))
            try:
                await _work(connection, table, written[table], used, chance)
            except asyncpg.LockNotAvailableError:
                used.refused += 1
    finally:
        await connection.close()


async def _work(connection: Any, table: str, column: str, used: Used, chance: random.Random) -> None:
    """A row is read and written again. Rows that others are at are left out: only a migration can make it wait."""
    async with connection.transaction():
        place = await _timed(used, connection.fetchval(f'SELECT ctid FROM "{table}" FOR UPDATE SKIP LOCKED LIMIT 1'))
        await _timed(used, connection.execute(f'UPDATE "{table}" SET "{column}" = "{column}" WHERE ctid = $1', place))
        if chance.random() < 0.2:
            await asyncio.sleep(chance.uniform(0, LONGEST_TRANSACTION_S))
    used.transactions += 1


async def _timed(used: Used, statement: Awaitable[Any]) -> Any:
    began = time.monotonic()
    try:
        return await statement
    finally:
        used.statements += 1
        used.slowest_ms = max(used.slowest_ms, 1000 * (time.monotonic() - began))
