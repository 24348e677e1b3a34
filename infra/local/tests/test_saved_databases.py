"""What a restored ledger is told of a log that begins anew: on a real Postgres."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from driftloop_kit.schema import migrate
from driftloop_local.databases import in_database
from driftloop_local.saved_databases import told_to_a_new_log
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.stack]

# Of the partition's 10 records, 0 to 3 had expired and 5 was compacted away.
KEPT = {("t", 0): ([4, 6, 7, 8, 9], 10), ("gone", 0): ([], 3)}


async def test_offsets_and_acks_are_those_of_the_kept_records(stack: LocalStack) -> None:
    database = await asyncio.to_thread(stack.create_service_database, "moved")
    await migrate("registry", database.owner_url)
    connection = await asyncpg.connect(in_database(stack.postgres, "moved"))
    try:
        await connection.execute(
            "insert into consumer_offset (grp, topic, part, next_offset) values ('g', 't', 0, 7), ('late', 't', 0, 12)"
        )
        for topic, offset in [("t", 1), ("t", 5), ("t", 8), ("t", 10), ("gone", 2)]:
            await connection.execute(
                "insert into outbox (topic, value, headers, published_at, acked_part, acked_offset) "
                "values ($1, '', '[]', now(), 0, $2)",
                topic,
                offset,
            )
        await told_to_a_new_log(stack.postgres, "moved", KEPT)
        assert await rows(connection, "select grp, next_offset from consumer_offset order by 1") == [
            ("g", 2),
            ("late", 5),
        ]
        assert await rows(connection, "select acked_offset, published_at is null from outbox order by id") == [
            (-1, False),
            (0, False),
            (3, False),
            (None, True),
            (-1, False),
        ]
    finally:
        await connection.close()


async def rows(connection: Any, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(query)]
