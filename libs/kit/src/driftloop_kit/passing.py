"""Postgres' errors, sorted: what passes is tried again, what does not is a bug."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from driftloop_bus.errors import TryAgain

# serialization, deadlock, lock not available, cancelled, shutdowns, cannot connect now, disk full, out of memory, too many
# connections, idle-in-transaction and transaction timeout, read-only (a standby).
_PASSING_STATES: Final = frozenset({
    "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53100", "53200", "53300", "25P03", "25P04", "25006",
})  # fmt: skip
# The last: a migration has given a table a column that a prepared `SELECT *` does not know; asyncpg forgets it by that.
_PASSING: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InvalidCachedStatementError,
)
_BUGS: Final = (asyncpg.DataError, asyncpg.ClientConfigurationError, asyncpg.UnsupportedClientFeatureError)


def is_passing(error: BaseException) -> bool:
    """Whether the same work can succeed later: the database is away, busy, or moved."""
    if isinstance(error, _BUGS):
        return False
    state = str(getattr(error, "sqlstate", None))
    # Class 08: the connection broke.
    return isinstance(error, _PASSING) or state in _PASSING_STATES or state.startswith("08")


def has_moved(error: BaseException) -> bool:
    """Whether the server that was asked only reads: whoever writes is elsewhere now."""
    return isinstance(error, asyncpg.ReadOnlySQLTransactionError) or isinstance(
        error.__cause__, asyncpg.ReadOnlySQLTransactionError
    )


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
