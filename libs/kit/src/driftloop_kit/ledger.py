"""Offsets, inbox and outbox beside the effects, in one Postgres transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from driftloop_bus.errors import Fenced
from driftloop_bus.ports import Claim, Outgoing
from driftloop_kit import outbox
from driftloop_kit.database import Connection, Database, translated
from driftloop_kit.outbox import PostgresOutbox
from driftloop_kit.pending import Pending

_CLAIM: Final = """
INSERT INTO consumer_offset AS held (grp, topic, part, epoch, claimed_at, claims) VALUES ($1, $2, $3, 1, 0, 1)
ON CONFLICT (grp, topic, part) DO UPDATE SET epoch = held.epoch + 1, claimed_at = held.next_offset,
    claims = CASE WHEN held.claimed_at = held.next_offset THEN held.claims + 1 ELSE 1 END
RETURNING next_offset, epoch, claims, CASE WHEN begun_at = next_offset THEN begun ELSE 0 END AS deaths
"""
# Whoever still writes a batch there goes on by it, and is not waited for.
_RELEASE: Final = """
UPDATE consumer_offset SET claims = 0, begun_at = NULL WHERE (grp, topic, part) IN (
    SELECT grp, topic, part FROM consumer_offset
    WHERE grp = $1 AND topic = $2 AND part = $3 AND epoch = $4 FOR UPDATE SKIP LOCKED)
"""
_BEGIN: Final = """
UPDATE consumer_offset SET begun_at = next_offset, begun = $6
WHERE grp = $1 AND topic = $2 AND part = $3 AND epoch = $4 AND next_offset = $5
"""
_CURRENT: Final = "SELECT next_offset, epoch FROM consumer_offset WHERE grp = $1 AND topic = $2 AND part = $3"
_ADVANCE: Final = "UPDATE consumer_offset SET next_offset = $4 WHERE grp = $1 AND topic = $2 AND part = $3"
# In the order of ids, so that two transactions with common ids wait for each other instead of locking up.
_UNSEEN: Final = """
INSERT INTO inbox (event_id) SELECT DISTINCT id FROM unnest($1::text[]) AS id ORDER BY id
ON CONFLICT DO NOTHING RETURNING event_id
"""


class PostgresTransaction:
    """One transaction of a ledger."""

    def __init__(self, connection: Connection, pending: Pending) -> None:
        self._connection = connection
        self._pending = pending
        self.rows = 0
        """Outbox rows that it will leave."""
        self.left_jobs = False
        """Whether a job waits for its commit."""

    @property
    def connection(self) -> Connection:
        """asyncpg's connection."""
        return self._connection

    async def unseen(self, ids: Sequence[str]) -> list[bool]:
        """For each id whether it was never handled before."""
        new = {row["event_id"] for row in await self._connection.fetch(_UNSEEN, ids)}
        answers = []
        for event_id in ids:
            answers.append(event_id in new)
            new.discard(event_id)
        return answers

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """They go out after the commit."""
        if not records:
            return
        self._pending.adding(len(records))
        self.rows += len(records)
        await outbox.insert(self._connection, records)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undone when it raises."""
        before, kept = self.rows, False
        try:
            with translated():
                async with self._connection.transaction():
                    yield
            kept = True
        finally:
            if not kept:
                self._pending.withdrawn(self.rows - before)
                self.rows = before


class PostgresLedger:
    """The ledger of one consumer group in its service's database."""

    def __init__(self, database: Database, group: str) -> None:
        self._database = database
        self._group = group
        self._pending = Pending()
        self._rows_heard: list[Callable[[], None]] = []
        self._jobs_heard: list[Callable[[], None]] = []
        self.outbox = PostgresOutbox(database, self._pending)

    @property
    def pending(self) -> int | None:
        """Outbox rows that wait, at a glance: never 0 while a committed one waits, None before the first look."""
        return self._pending.value

    def listen(self, *, rows: Callable[[], None], jobs: Callable[[], None]) -> None:
        """`rows` is called after each commit that left outbox rows, `jobs` after each that left jobs."""
        self._rows_heard.append(rows)
        self._jobs_heard.append(jobs)

    async def claim(self, topic: str, partition: int) -> Claim:
        """The partition is ours."""
        async with self._database.batch() as connection:
            row = await connection.fetchrow(_CLAIM, self._group, topic, partition)
        assert row is not None
        return Claim(topic, partition, row["epoch"], row["next_offset"], row["claims"], row["deaths"])

    async def release(self, claim: Claim) -> None:
        """Its owner lets go, alive."""
        async with self._database.batch() as connection:
            await connection.execute(_RELEASE, self._group, claim.topic, claim.partition, claim.epoch)

    async def begin_alone(self, claim: Claim) -> None:
        """The one record at the claim's offset is begun."""
        async with self._database.batch() as connection:
            place = (self._group, claim.topic, claim.partition)
            if await connection.execute(_BEGIN, *place, claim.epoch, claim.next_offset, claim.deaths + 1) == "UPDATE 1":
                return
            next_offset, epoch = await self._stored(connection, claim, _CURRENT)
        raise _fenced(claim, epoch, next_offset, claim.next_offset)

    async def current(self, claim: Claim) -> Claim:
        """The claim with the offset that is stored now."""
        async with self._database.batch() as connection:
            next_offset, epoch = await self._stored(connection, claim, _CURRENT)
        if epoch != claim.epoch:
            raise _fenced(claim, epoch, next_offset)
        return Claim(claim.topic, claim.partition, epoch, next_offset)

    @asynccontextmanager
    async def batch(self, claim: Claim, start: int, end: int) -> AsyncIterator[PostgresTransaction]:
        """Effects, inbox, outbox and `next_offset = end` in one commit."""
        async with self._database.batch() as connection, self._committing(connection) as tx:
            next_offset, epoch = await self._stored(connection, claim, _CURRENT + " FOR UPDATE")
            if epoch != claim.epoch or next_offset != start:
                raise _fenced(claim, epoch, next_offset, start)
            yield tx
            await connection.execute(_ADVANCE, self._group, claim.topic, claim.partition, end)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """One transaction without offsets."""
        async with self._database.door() as connection, self._committing(connection) as tx:
            yield tx

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection in a read-only transaction."""
        async with self._database.door() as connection, connection.transaction(readonly=True):
            yield connection

    async def ping(self) -> None:
        """Postgres answers and writes. Raises TryAgain when not."""
        await self._database.ping()

    async def close(self) -> None:
        """Every connection is closed."""
        await self._database.close()

    async def _stored(self, connection: Connection, claim: Claim, query: str) -> tuple[int, int]:
        row = await connection.fetchrow(query, self._group, claim.topic, claim.partition)
        return (0, 0) if row is None else (row["next_offset"], row["epoch"])

    @asynccontextmanager
    async def _committing(self, connection: Connection) -> AsyncIterator[PostgresTransaction]:
        tx = PostgresTransaction(connection, self._pending)
        whole = False
        try:
            async with connection.transaction():
                yield tx
                whole = True
        finally:
            # A commit that failed half-way may have succeeded: its rows count until the next look.
            (self._pending.settled if whole else self._pending.withdrawn)(tx.rows)
        for heard in (*(self._rows_heard if tx.rows else ()), *(self._jobs_heard if tx.left_jobs else ())):
            heard()


def _fenced(claim: Claim, epoch: int, next_offset: int, start: int | None = None) -> Fenced:
    return Fenced(
        f"{claim.topic}/{claim.partition}: stored are epoch {epoch} and offset {next_offset}, ours {claim.epoch} and {start}",
        epoch=epoch,
        next_offset=next_offset,
    )
