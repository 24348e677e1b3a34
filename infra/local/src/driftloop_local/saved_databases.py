"""Databases as files: `pg_dump` of each, one snapshot a database; and the ledger's offsets, told to a log that begins anew."""

from __future__ import annotations

import asyncio
import bisect
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from driftloop_local.databases import in_database
from driftloop_local.errors import StackRefused
from driftloop_local.postgres import programs

Kept = Mapping[tuple[str, int], tuple[list[int], int]]
"""By topic and partition: the offsets that its kept records had, and the offset after all that it had then."""
DUMPED_WITHIN_S: Final = 3600.0
_NAMES: Final = "select datname from pg_database where not datistemplate and datname <> 'postgres' order by 1"
_LONG: Final = """
set transaction_timeout = 0; set idle_in_transaction_session_timeout = 0;
begin isolation level repeatable read read only
"""
_POINT: Final = "select pg_export_snapshot() as snapshot, pg_current_wal_lsn()::text as lsn, now()::text as at"
_TABLES: Final = "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
_LEDGER: Final = "select schemaname from pg_tables where tablename = 'consumer_offset'"


async def names(administrator_url: str) -> list[str]:
    """Every database of a service."""
    return [row["datname"] for row in await asked(administrator_url, _NAMES)]


@asynccontextmanager
async def one_moment(administrator_url: str, databases: Sequence[str]) -> AsyncIterator[dict[str, dict[str, str]]]:
    """Of each database its snapshot, LSN and time, all within milliseconds; `dump` can read them while the block runs."""
    opened = await asyncio.gather(
        *(asyncpg.connect(in_database(administrator_url, name), timeout=10) for name in databases)
    )
    try:
        # A dump may take longer than a service's transactions ever do.
        await asyncio.gather(*(one.execute(_LONG) for one in opened))
        points = await asyncio.gather(*(one.fetchrow(_POINT) for one in opened))
        yield {name: dict(point) for name, point in zip(databases, points, strict=True) if point}
    finally:
        await asyncio.gather(*(one.close(timeout=10) for one in opened))


async def is_empty(administrator_url: str, name: str) -> bool:
    """Whether the database holds no table."""
    (row,) = await asked(in_database(administrator_url, name), _TABLES)
    return not row["count"]


def dump(administrator_url: str, name: str, snapshot: str, file: Path) -> None:
    """The database as of the snapshot is in the file. Raises StackRefused where it can't be read."""
    _run(
        "pg_dump",
        "--format=custom",
        "--no-owner",
        "--no-acl",
        f"--snapshot={snapshot}",
        f"--file={file}",
        in_database(administrator_url, name),
    )


def load(administrator_url: str, name: str, file: Path) -> None:
    """The database is as it was, all of it or nothing; what it held before is gone. Its owner is the service's."""
    _run(
        "pg_restore", "--clean", "--if-exists", "--no-owner", "--no-acl", f"--role={name}_owner", "--single-transaction",
        f"--dbname={in_database(administrator_url, name)}", str(file),
    )  # fmt: skip


async def told_to_a_new_log(administrator_url: str, name: str, kept: Kept) -> None:
    """Offsets and acks of the ledger are those of a log that holds the kept records alone, from 0 on.

    What was acked beyond the end that the log had goes out again.
    """
    connection = await asyncpg.connect(in_database(administrator_url, name), timeout=10)
    try:
        for row in await connection.fetch(_LEDGER):
            async with connection.transaction():
                for (topic, part), (offsets, end) in kept.items():
                    await _moved(connection, f'"{row["schemaname"]}"', topic, part, offsets, end)
    finally:
        await connection.close(timeout=10)


async def _moved(connection: Any, schema: str, topic: str, part: int, offsets: list[int], end: int) -> None:
    place = "topic = $1 and part = $2"
    for row in await connection.fetch(
        f"select grp, next_offset from {schema}.consumer_offset where {place}", topic, part
    ):
        moved = bisect.bisect_left(offsets, row["next_offset"])
        await connection.execute(
            f"update {schema}.consumer_offset set next_offset = $4, epoch = epoch + 1 where {place} and grp = $3",
            topic, part, row["grp"], moved,
        )  # fmt: skip
    # What was compacted or has expired since its ack stands before the log (-1): sent again, an old value would stand last.
    earlier = "width_bucket(acked_offset, $3::bigint[]) - 1" if offsets else "-1"
    await connection.execute(
        f"""
        update {schema}.outbox set
            acked_offset = case when acked_offset < $4 then {earlier} end,
            acked_part = case when acked_offset < $4 then acked_part end,
            published_at = case when acked_offset < $4 then published_at end
        where topic = $1 and acked_part = $2 and ($3::bigint[] is not null)
        """,
        topic, part, offsets, end,
    )  # fmt: skip


async def asked(url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return list(await connection.fetch(query, timeout=30))
    finally:
        await connection.close(timeout=10)


def _run(program: str, *words: str) -> None:
    done = subprocess.run(
        [str(programs() / program), *words], capture_output=True, text=True, timeout=DUMPED_WITHIN_S, check=False
    )
    if done.returncode:
        raise StackRefused(f"{program} ended with {done.returncode}: {done.stderr.strip()[-500:]}", "read what it says")
