"""A service's pools of Postgres connections, with deadlines on everything, and its errors sorted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from asyncpg.pool import Pool, PoolConnectionProxy

from driftloop_bus.errors import TryAgain

if TYPE_CHECKING:
    Connection = PoolConnectionProxy[asyncpg.Record]
else:
    # Generic for the type checker only.
    Connection = PoolConnectionProxy
# Longest wait for a connection, new or free.
ACQUIRE_S: Final = 2.0
CLOSE_S: Final = 1.0
DOOR_COMMAND_S: Final = 2.0
BATCH_COMMAND_S: Final = 10.0
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
# serialization, deadlock, lock not available, cancelled, shutdowns, cannot connect now, too many connections,
# idle-in-transaction and transaction timeout, read-only (a standby).
_PASSING_STATES: Final = frozenset(
    ("40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53300", "25P03", "25P04", "25006")
)
_PASSING: Final = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_BUGS: Final = (asyncpg.DataError, asyncpg.ClientConfigurationError, asyncpg.UnsupportedClientFeatureError)


class Database:
    """Two pools: doors must answer soon, batches may work longer. Connections are made when needed, none at the start."""

    def __init__(self, doors: Pool[asyncpg.Record], batches: Pool[asyncpg.Record]) -> None:
        self._doors = doors
        self._batches = batches

    @asynccontextmanager
    async def door(self) -> AsyncIterator[Connection]:
        """A connection whose commands end within 2 s. Raises TryAgain while there is none."""
        with translated():
            async with self._doors.acquire(timeout=ACQUIRE_S) as connection:
                yield connection

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Connection]:
        """A connection whose commands end within 10 s. Raises TryAgain while there is none."""
        with translated():
            async with self._batches.acquire(timeout=ACQUIRE_S) as connection:
                yield connection

    async def close(self) -> None:
        """Every connection is closed; what still runs on them after a second is broken off."""
        pools = (self._doors, self._batches)
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(pool.close() for pool in pools))
        except TimeoutError:
            for pool in pools:
                pool.terminate()


async def open_database(url: str, *, doors: int = 8, batches: int = 8) -> Database:
    """Returns at once, also while Postgres is away."""
    return Database(
        await _pool(url, doors, DOOR_COMMAND_S),
        await _pool(url, batches, BATCH_COMMAND_S),
    )


async def _pool(url: str, size: int, command_s: float) -> Pool[asyncpg.Record]:
    pool: Pool[asyncpg.Record] = await asyncpg.create_pool(
        url,
        record_class=asyncpg.Record,
        min_size=0,
        max_size=size,
        timeout=ACQUIRE_S,
        command_timeout=command_s,
        max_inactive_connection_lifetime=IDLE_S,
        target_session_attrs=SessionAttribute.read_write,
        server_settings=SERVER_SETTINGS,
    )
    return pool


def is_passing(error: BaseException) -> bool:
    """Whether the same work can succeed later: the database is away, busy, or moved."""
    if isinstance(error, _BUGS):
        return False
    state = str(getattr(error, "sqlstate", None))
    # Class 08: the connection broke.
    return isinstance(error, _PASSING) or state in _PASSING_STATES or state.startswith("08")


@contextmanager
def translated() -> Iterator[None]:
    """What passes leaves as TryAgain; the rest as it is."""
    try:
        yield
    except (asyncpg.PostgresError, *_PASSING) as error:
        if not is_passing(error):
            raise
        raise TryAgain(f"Postgres: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """In words for people: never a query or its parameters."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def plain_url(url: Any) -> str:
    """asyncpg's form of an address that SQLAlchemy or pydantic may have decorated."""
    return str(url).replace("postgresql+asyncpg://", "postgresql://")
