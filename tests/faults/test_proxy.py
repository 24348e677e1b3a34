"""The proxy between real parts: it knows their messages, and each of its faults is what it says."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faults.framing import SSL_REQUEST, TO_CLIENT, TO_SERVER, Framing, KafkaFrames, PostgresFrames, Side, Splitter
from tests.faults.proxy import Proxy

from driftloop_local.kafka import why_not_answering
from driftloop_local.stack import LocalStack

Talk = list[tuple[Side, bytes]]
KAFKA: Talk = [(TO_SERVER, struct.pack(">i", n) + bytes(n)) for n in (0, 1, 10, 300)]
BEGIN: Talk = [
    (TO_SERVER, struct.pack(">ii", 8, SSL_REQUEST)),
    (TO_CLIENT, b"N"),
    (TO_SERVER, struct.pack(">ii", 20, 196608) + b"user\0anna\0\0\0"),
    (TO_CLIENT, b"R" + struct.pack(">ii", 8, 0)),
    (TO_CLIENT, b"Z" + struct.pack(">i", 5) + b"I"),
    (TO_SERVER, b"Q" + struct.pack(">i", 13) + b"SELECT 1\0"),
]
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(5)%' AND pid <> pg_backend_pid()"


@pytest.mark.parametrize(("framing", "talk"), [(KafkaFrames, KAFKA), (PostgresFrames, BEGIN)])
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_however_a_stream_was_cut_the_same_frames_follow(framing: type[Framing], talk: Talk, sizes: list[int]) -> None:
    known = framing()
    splitters = {side: Splitter(known, side) for side in (TO_SERVER, TO_CLIENT)}
    found: dict[Side, dict[int, bytes]] = {TO_SERVER: {}, TO_CLIENT: {}}
    for side, message in talk:
        for chunk in chunks(message, sizes):
            for piece in splitters[side].feed(chunk):
                before = found[side].setdefault(piece.frame, b"")
                assert piece.at == len(before)
                found[side][piece.frame] = before + piece.data
    for side in (TO_SERVER, TO_CLIENT):
        assert list(found[side].values()) == [message for whose, message in talk if whose == side]
        assert splitters[side].rest() == b""


def chunks(message: bytes, sizes: list[int]) -> list[bytes]:
    cut, at, turn = [], 0, 0
    while at < len(message):
        size = sizes[turn % len(sizes)]
        cut.append(message[at : at + size])
        at, turn = at + size, turn + 1
    return cut


@pytest.fixture
async def postgres(stack: LocalStack) -> AsyncIterator[Proxy]:
    """A proxy in front of Postgres."""
    port = urlsplit(stack.postgres).port
    assert port is not None
    async with Proxy(("127.0.0.1", port), PostgresFrames) as proxy:
        yield proxy


def through(stack: LocalStack, proxy: Proxy) -> str:
    parts = urlsplit(stack.postgres)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{proxy.port}"))


async def connected(stack: LocalStack, proxy: Proxy) -> asyncpg.Connection[asyncpg.Record]:
    return await asyncpg.connect(through(stack, proxy), timeout=10)


async def test_postgres_messages_are_told_apart_from_the_first_byte_on(stack: LocalStack, postgres: Proxy) -> None:
    connection = await connected(stack, postgres)
    assert await connection.fetchval("SELECT repeat('x', 200000)") == "x" * 200_000
    await connection.close()
    asked = [frame.head[:1] for frame in postgres.frames if frame.side == TO_SERVER]
    told = [frame.head[:1] for frame in postgres.frames if frame.side == TO_CLIENT]
    # Two without a type: may we encrypt, and who we are.
    assert asked[:2] == [b"\0", b"\0"]
    assert asked[2:4] == [b"p", b"p"]
    assert asked[-1] == b"X"
    assert told[:2] == [b"N", b"R"]
    assert told[-1] == b"Z"
    assert {*told[1:]} <= {b"R", b"S", b"K", b"Z", b"1", b"2", b"t", b"T", b"D", b"C", b"n", b"s", b"3"}
    assert max(frame.length for frame in postgres.frames) > 200_000


async def test_a_cut_within_a_frame_lets_so_many_bytes_of_it_pass(stack: LocalStack, postgres: Proxy) -> None:
    connection = await connected(stack, postgres)
    postgres.cut(TO_CLIENT, 3, 1)
    await refused(connection.fetchval("SELECT 1"))
    assert connection.is_closed()
    again = await connected(stack, postgres)
    assert await again.fetchval("SELECT 2") == 2
    await again.close()


async def test_a_question_that_was_cut_never_arrives(stack: LocalStack, postgres: Proxy) -> None:
    name = "cut_" + str(time.time_ns())
    connection = await connected(stack, postgres)
    postgres.cut(TO_SERVER, 0, 9)
    await refused(connection.execute(f"CREATE TABLE {name} ()"))
    again = await connected(stack, postgres)
    assert await again.fetchval("SELECT to_regclass($1)", name) is None
    await again.close()


async def test_in_a_black_hole_nobody_is_told_and_afterwards_it_goes_on(stack: LocalStack, postgres: Proxy) -> None:
    connection = await connected(stack, postgres)
    with postgres.black_hole():
        asked = asyncio.create_task(connection.fetchval("SELECT 3"))
        await asyncio.sleep(0.3)
        assert not asked.done()
        assert 0.1 < postgres.longest_wait_s() < 5
        with pytest.raises(TimeoutError):
            await asyncpg.connect(through(stack, postgres), timeout=0.3)
    assert await asked == 3
    assert [wait for wait in postgres.waits_s if wait > 0.2]
    await connection.close()


async def test_a_delay_is_added_each_way_and_keeps_the_order(stack: LocalStack, postgres: Proxy) -> None:
    connection = await connected(stack, postgres)
    postgres.delay_s, postgres.jitter_s = 0.1, 0.05
    began = time.monotonic()
    assert await connection.fetchval("SELECT 4") == 4
    assert time.monotonic() - began >= 0.2
    postgres.delay_s = postgres.jitter_s = 0.0
    await connection.close()


async def test_a_reset_reaches_both_ends(stack: LocalStack, postgres: Proxy) -> None:
    connection = await connected(stack, postgres)
    asked = asyncio.create_task(connection.fetchval("SELECT pg_sleep(5)"))
    await asyncio.sleep(0.2)
    assert postgres.reset() == 1
    await refused(asked)
    direct = await asyncpg.connect(stack.postgres)
    # The server looks after its client each five seconds at most, or when it is done.
    async with asyncio.timeout(15):
        while await direct.fetchval(SLEEPING):  # noqa: ASYNC110  # nobody signals it
            await asyncio.sleep(0.1)
    await direct.close()


async def test_half_closed_one_side_has_ended_and_the_other_goes_on(stack: LocalStack, postgres: Proxy) -> None:
    connection = await connected(stack, postgres)
    asked = asyncio.create_task(connection.fetchval("SELECT pg_sleep(0.5), 5"))
    await asyncio.sleep(0.1)
    postgres.half_close(TO_CLIENT)
    await refused(asked)


async def test_kafkas_requests_are_counted_and_cut(kafka: str) -> None:
    host, _, port = kafka.rpartition(":")
    async with Proxy((host, int(port)), KafkaFrames) as proxy:
        address = f"127.0.0.1:{proxy.port}"
        assert await why_not_answering(address) is None
        assert [frame.side for frame in proxy.frames] == [TO_SERVER, TO_CLIENT]
        assert proxy.frames[0].length == 4 + 10
        proxy.cut(TO_CLIENT, 0, 6)
        assert "no broker" in str(await why_not_answering(address))
        assert await why_not_answering(address) is None


async def refused(asked: Awaitable[object]) -> None:
    """The connection broke under it."""
    with pytest.raises((OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        await asked
