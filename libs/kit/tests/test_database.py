"""Connections to a real Postgres that is silent, elsewhere, or a reader by now."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from driftloop_bus.errors import TryAgain
from driftloop_kit.database import DOOR_WITHIN_S, Database, open_database
from driftloop_kit.hosts import each_host
from driftloop_kit.ledger import PostgresLedger
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

READER = "ALTER SYSTEM SET default_transaction_read_only = on"
WRITER = "ALTER SYSTEM RESET default_transaction_read_only"
# A busy machine.
A_MOMENT_S = 1.0


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a host that takes connections and never says a word."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        yield door.getsockname()[1]


def before(url: str, port: int) -> str:
    """The address with another host in front of its own."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port},{place}"))


def test_an_address_of_many_hosts_is_one_for_each() -> None:
    assert each_host("postgresql://a:b%40c@one:1,two:2/name?x=y") == [
        "postgresql://a:b%40c@one:1/name?x=y",
        "postgresql://a:b%40c@two:2/name?x=y",
    ]
    assert each_host("postgresql://one/name") == ["postgresql://one/name"]


async def test_behind_a_silent_host_the_next_is_found_at_once_the_second_time(
    addresses: ServiceDatabase, silent: int
) -> None:
    database = await open_database(before(addresses.login_url, silent))
    try:
        async with database.door() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        began = time.monotonic()
        async with database.batch() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        assert time.monotonic() - began < A_MOMENT_S / 2
    finally:
        await database.close()


async def test_a_door_is_broken_off_in_the_middle_of_whatever_it_does(database: Database) -> None:
    began = time.monotonic()
    with pytest.raises(TryAgain):
        await nine_seconds_long(database)
    assert time.monotonic() - began < DOOR_WITHIN_S + A_MOMENT_S
    async with database.door() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_silent_postgres_is_known_to_be_so_after_a_second(silent: int) -> None:
    database = await open_database(f"postgresql://a:b@127.0.0.1:{silent}/c")
    began = time.monotonic()
    with pytest.raises(TryAgain):
        await database.ping()
    assert time.monotonic() - began < 1.0 + A_MOMENT_S
    await database.close()


async def test_no_connection_to_a_server_that_only_reads_is_kept(
    stack: LocalStack, database: Database, ledger: PostgresLedger
) -> None:
    administrator = await asyncpg.connect(stack.postgres)
    try:
        doors, pulse = await opened(database), await writes(database)
        assert doors == pulse
        await administrator.execute(READER)
        await administrator.execute("SELECT pg_reload_conf()")
        await until_refused(database)
        with pytest.raises(TryAgain, match="None of the hosts match"):
            await database.ping()
        await administrator.execute(WRITER)
        await administrator.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(0.2)
        await database.ping()
        assert await writes(database) != doors
    finally:
        await administrator.execute(WRITER)
        await administrator.execute("SELECT pg_reload_conf()")
        await administrator.close()


async def opened(database: Database) -> int:
    async with database.door() as connection:
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def writes(database: Database) -> int:
    """The server's process that did it."""
    async with database.door() as connection, connection.transaction():
        await connection.execute("INSERT INTO inbox (event_id) VALUES (gen_random_uuid()::text)")
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def nine_seconds_long(database: Database) -> None:
    """Each of its commands is quick enough."""
    async with database.door() as connection, connection.transaction():
        for _ in range(10):
            await connection.execute("SELECT pg_sleep(0.9)")


async def until_refused(database: Database) -> None:
    """A reload reaches a session with its next command."""
    async with asyncio.timeout(5):
        while (said := await refusal(database)) is None:  # noqa: ASYNC110  # nobody signals it
            await asyncio.sleep(0.05)
    assert "ReadOnly" in said


async def refusal(database: Database) -> str | None:
    try:
        await writes(database)
    except TryAgain as error:
        return error.message
    return None
