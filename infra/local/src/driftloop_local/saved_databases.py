"""Databases as files: `pg_dump` of each, one snapshot a database; and the ledger's offsets, told to a log that begins anew."""

from __future__ import annotations

import bisect
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg

from driftloop_local.databases import in_database
from driftloop_local.errors import StackRefused
from driftloop_local.postgres import programs

DUMPED_WITHIN_S: Final = 3600.0
_NAMES: Final = "select datname from pg_database where not datistemplate and datname <> 'postgres' order by 1"
_POINT: Final = "select pg_current_wal_lsn()::text as lsn, now() as at"
_TABLES: Final = "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
_LEDGER: Final = "select schemaname from pg_tables where tablename = 'consumer_offset'"


async def names(administrator_url: str) -> list[str]:
    """Every database of a service."""
    return [row["datname"] for row in await asked(administrator_url, _NAMES)]


async def point(administrator_url: str) -> dict[str, Any]:
    """Where the server stands: what is committed by now is in every dump that begins later."""
    (row,) = await asked(administrator_url, _POINT)
    return {"lsn": row["lsn"], "at": row["at"].isoformat()}


async def is_empty(administrator_url: str, name: str) -> bool:
    """Whether the database holds no table."""
    (row,) = await asked(in_database(administrator_url, name), _TABLES)
    return not row["count"]


def dump(administrator_url: str, name: str, file: Path) -> None:
    """The database as of one moment is in the file. Raises StackRefused where it can't be read."""
    _run("pg_dump", "--format=custom", "--no-owner", "--no-acl", f"--file={file}", in_database(administrator_url, name))


def load(administrator_url: str, name: str, file: Path) -> None:
    """The database is as it was, all of it or nothing; what it held before is gone. Its owner is the service's."""
    _run(
        "pg_restore", "--clean", "--if-exists", "--no-owner", "--no-acl", f"--role={name}_owner", "--single-transaction",
        f"--dbname={in_database(administrator_url, name)}", str(file),
    )  # fmt: skip


async def told_to_a_new_log(administrator_url: str, name: str, kept: Mapping[tuple[str, int], Sequence[int]]) -> None:
    """Offsets and acks of the ledger are those of a log that holds the kept records alone, from 0 on.

    What was acked, but is not among them, goes out again.
    """
    connection = await asyncpg.connect(in_database(administrator_url, name), timeout=10)
    try:
        for row in await connection.fetch(_LEDGER):
            async with connection.transaction():
                for (topic, part), offsets in kept.items():
                    await _moved(connection, f'"{row["schemaname"]}"', topic, part, offsets)
    finally:
        await connection.close(timeout=10)


async def _moved(connection: Any, schema: str, topic: str, part: int, offsets: Sequence[int]) -> None:
    place = "topic = $1 and part = $2"
    for row in await connection.fetch(
        f"select grp, next_offset from {schema}.consumer_offset where {place}", topic, part
    ):
        moved = bisect.bisect_left(offsets, row["next_offset"])
        await connection.execute(
            f"update {schema}.consumer_offset set next_offset = $4, epoch = epoch + 1 where {place} and grp = $3",
            topic, part, row["grp"], moved,
        )  # fmt: skip
    await connection.execute(
        f"""
        with here as (
            select old, ordinality - 1 as new from unnest($3::bigint[]) with ordinality as kept (old, ordinality)
        ), moved as (
            select id, new from {schema}.outbox left join here on old = acked_offset
            where topic = $1 and acked_part = $2
        )
        update {schema}.outbox as o set acked_offset = new, acked_part = case when new is null then null else acked_part end,
            published_at = case when new is null then null else published_at end
        from moved where moved.id = o.id
        """,  # the schema's name is the server's own
        topic, part, list(offsets),
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
