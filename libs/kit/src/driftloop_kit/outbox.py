"""Committed records on their way to Kafka: who may relay them, in which order, and what the log acked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from driftloop_bus.ports import Ack, Headers, OutboxLease, OutboxRow, Outgoing, TopicPartition
from driftloop_kit.database import Connection, Database, refuse_reader, translated
from driftloop_kit.pending import Pending

# Enough that different keys seldom wait for each other, few enough for Postgres' lock table.
KEY_LOCKS: Final = 64

_LOCK_KEYS: Final = """
SELECT pg_advisory_xact_lock(hashtext('driftloop.outbox.key'), bucket) FROM (
    SELECT DISTINCT abs(hashtext(topic || encode(coalesce(key, ''), 'hex'))::bigint % $3)::int AS bucket
    FROM unnest($1::text[], $2::bytea[]) AS records (topic, key) ORDER BY bucket
) AS buckets
"""
_INSERT: Final = """
INSERT INTO outbox (topic, part, key, value, headers)
SELECT topic, part, key, value, headers
FROM unnest($1::text[], $2::int[], $3::bytea[], $4::bytea[], $5::json[])
    WITH ORDINALITY AS record (topic, part, key, value, headers, place)
ORDER BY place
"""
_UNPUBLISHED: Final = """
SELECT id, topic, part, key, value, headers FROM outbox
WHERE published_at IS NULL AND topic <> ALL ($2::text[]) ORDER BY id LIMIT $1
"""
_PUBLISHED: Final = """
UPDATE outbox SET published_at = now(), acked_part = ack.part, acked_offset = ack.position
FROM unnest($1::bigint[], $2::int[], $3::bigint[]) AS ack (id, part, position) WHERE outbox.id = ack.id
"""
_RECALL: Final = """
UPDATE outbox SET published_at = NULL, acked_part = NULL, acked_offset = NULL
FROM unnest($1::text[], $2::int[], $3::bigint[]) AS log (topic, part, next)
WHERE outbox.published_at IS NOT NULL AND outbox.topic = log.topic
    AND outbox.acked_part = log.part AND outbox.acked_offset >= log.next
"""


async def insert(connection: Connection, records: Sequence[Outgoing]) -> None:
    """They wait in this order. Their keys are locked until the commit, so that ids of a key grow in commit order."""
    topics = [record.topic for record in records]
    keys = [record.key for record in records]
    await connection.fetch(_LOCK_KEYS, topics, keys, KEY_LOCKS)
    await connection.execute(
        _INSERT,
        topics,
        [record.partition for record in records],
        keys,
        [record.value for record in records],
        [_headers_to_json(record.headers) for record in records],
    )


class PostgresOutbox:
    """The outbox of one service's database."""

    def __init__(self, database: Database, pending: Pending) -> None:
        self._database = database
        self._pending = pending

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[OutboxLease | None]:
        """The right to relay, for as long as its connection lives: everything is read and marked on that one."""
        async with self._database.session() as connection:
            held = await connection.fetchval("SELECT pg_try_advisory_lock(hashtext('driftloop.outbox'), 0)")
            # Given back with the connection: the pool unlocks all.
            yield PostgresLease(connection, self._pending) if held else None

    async def pending(self) -> int:
        """How many rows wait, from the database."""
        mark = self._pending.look()
        async with self._database.batch() as connection:
            rows = int(await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"))
        self._pending.looked(mark, rows)
        return rows


class PostgresLease:
    """The one relay's hand on the outbox."""

    def __init__(self, connection: Connection, pending: Pending) -> None:
        self._connection = connection
        self._pending = pending

    async def unpublished(self, limit: int, without: Collection[str] = ()) -> list[OutboxRow]:
        """The oldest rows without an ack."""
        mark = self._pending.look()
        with translated():
            rows = await self._connection.fetch(_UNPUBLISHED, limit, list(without))
            # What is committed elsewhere by now would not be seen here, and no error would tell.
            refuse_reader(self._connection)
        # Topics are left out because they are stuck: something of them waits.
        self._pending.looked(mark, len(rows), more=len(rows) == limit or bool(without))
        return [_row(row) for row in rows]

    async def published(self, ids: Sequence[int], acks: Sequence[Ack]) -> None:
        """These rows are acked."""
        mark = self._pending.publishing()
        with translated():
            await self._connection.execute(_PUBLISHED, ids, [part for part, _ in acks], [offset for _, offset in acks])
        self._pending.published(mark, len(ids))

    async def recall(self, ends: Mapping[TopicPartition, int]) -> int:
        """What the log lost waits again."""
        places = list(ends)
        with translated():
            status = await self._connection.execute(
                _RECALL, [topic for topic, _ in places], [part for _, part in places], list(ends.values())
            )
        return int(status.split()[-1])


def _row(row: Any) -> OutboxRow:
    headers = tuple((name, value.encode("latin-1")) for name, value in json.loads(row["headers"]))
    return OutboxRow(row["id"], Outgoing(row["topic"], row["key"], row["value"], headers, row["part"]))


def _headers_to_json(headers: Headers) -> str:
    # latin-1: every byte is one character, whatever a stranger put into a header.
    return json.dumps([(name, value.decode("latin-1")) for name, value in headers])
