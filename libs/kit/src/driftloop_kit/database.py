"""A service's pools of Postgres connections, with deadlines on everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.pool import Pool, PoolConnectionProxy

from driftloop_bus.errors import TryAgain
from driftloop_kit.hosts import Hosts, only_reads
from driftloop_kit.passing import has_moved, translated

if TYPE_CHECKING:
    Connection = PoolConnectionProxy[asyncpg.Record]
else:
    # Generic for the type checker only.
    Connection = PoolConnectionProxy
__all__ = ["Connection", "Database", "open_database", "plain_url", "refuse_reader", "translated"]

# Longest wait for a connection, new or free.
ACQUIRE_S: Final = 2.0
CLOSE_S: Final = 1.0
DOOR_COMMAND_S: Final = 2.0
# From asking for a connection until it is given back, whatever the server does: no caller waits for 5 s.
DOOR_WITHIN_S: Final = 3.5
BATCH_COMMAND_S: Final = 10.0
# As long as a transaction may take at the server, and the wait for the connection.
BATCH_WITHIN_S: Final = 17.0
PULSE_WITHIN_S: Final = 1.0
# Idle connections go after it, so that a database that moved is found again.
IDLE_S: Final = 60.0
SERVER_SETTINGS: Final = {
    "transaction_timeout": "15s",
    # A stopped owner keeps its row lock: its successor waits no longer than this.
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "2s",
    "client_connection_check_interval": "5s",
    "tcp_user_timeout": "10s",
}


class Database:
    """Pools: doors must answer soon, batches may work longer, the pulse stands behind neither.

    Connections are made when needed, none at the start.
    """

    def __init__(self, doors: Pool[asyncpg.Record], batches: Pool[asyncpg.Record], pulse: Pool[asyncpg.Record]) -> None:
        self._doors, self._batches, self._pulse = doors, batches, pulse

    @asynccontextmanager
    async def door(self) -> AsyncIterator[Connection]:
        """A connection whose commands end within 2 s, and all of them within 3.5 s. Raises TryAgain while there is none."""
        async with self._lent(self._doors, DOOR_WITHIN_S) as connection:
            yield connection

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Connection]:
        """A connection whose commands end within 10 s, all of them within 17 s. Raises TryAgain while there is none."""
        async with self._lent(self._batches, BATCH_WITHIN_S) as connection:
            yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """As `batch`, for as long as one likes: its locks last as long as it does."""
        async with self._lent(self._batches, None) as connection:
            yield connection

    async def ping(self) -> None:
        """Postgres answers within a second, and writes. Raises TryAgain when not."""
        async with self._lent(self._pulse, PULSE_WITHIN_S) as connection:
            await connection.fetchval("SELECT 1")
            refuse_reader(connection)

    @asynccontextmanager
    async def _lent(self, pool: Pool[asyncpg.Record], within_s: float | None) -> AsyncIterator[Connection]:
        """Broken off when it is not back in time: asyncpg asks a silent server to cancel, and waits for it, at every step."""
        loop = asyncio.get_running_loop()
        asked_at, breaker = loop.time(), None
        try:
            with translated():
                async with pool.acquire(timeout=min(ACQUIRE_S, within_s or ACQUIRE_S)) as connection:
                    if within_s is not None:
                        breaker = loop.call_at(asked_at + within_s, _break_off, connection)
                    try:
                        yield connection
                    except (asyncpg.PostgresError, TryAgain) as error:
                        if has_moved(error):
                            await self._forget()
                        raise
        finally:
            if breaker is not None:
                breaker.cancel()

    async def _forget(self) -> None:
        """The next connection of each pool is a new one, wherever the primary is by then."""
        for pool in (self._doors, self._batches, self._pulse):
            await pool.expire_connections()

    async def close(self) -> None:
        """Every connection is closed; what still runs on them after a second is broken off."""
        pools = (self._doors, self._batches, self._pulse)
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(pool.close() for pool in pools))
        except TimeoutError:
            for pool in pools:
                pool.terminate()


async def open_database(url: str, *, doors: int = 8, batches: int = 8) -> Database:
    """Returns at once, also while Postgres is away. url: of one host, or of all that may become the primary."""
    hosts = Hosts(url)
    return Database(
        await _pool(hosts, doors, DOOR_COMMAND_S),
        await _pool(hosts, batches, BATCH_COMMAND_S),
        await _pool(hosts, 1, PULSE_WITHIN_S),
    )


async def _pool(hosts: Hosts, size: int, command_s: float) -> Pool[asyncpg.Record]:
    pool: Pool[asyncpg.Record] = await asyncpg.create_pool(
        connect=hosts.connect,
        record_class=asyncpg.Record,
        min_size=0,
        max_size=size,
        command_timeout=command_s,
        max_inactive_connection_lifetime=IDLE_S,
        server_settings=SERVER_SETTINGS,
    )
    return pool


def _break_off(connection: Connection) -> None:
    try:
        connection.terminate()
    except asyncpg.InterfaceError:
        # It was given back at this very moment.
        return


def refuse_reader(connection: Connection) -> None:
    """Raises ReadOnlySQLTransactionError, which passes, when the server of this connection writes no more."""
    if only_reads(connection):
        raise asyncpg.ReadOnlySQLTransactionError("the server only reads by now")


def plain_url(url: Any) -> str:
    """asyncpg's form of an address that SQLAlchemy or pydantic may have decorated."""
    return str(url).replace("postgresql+asyncpg://", "postgresql://")
