"""What a service takes on at once, as callers meet it who ask for more: a real server on a free port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvloop
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from libs.kit.tests.test_http import served, toy_api

from driftloop_bus.errors import Refused
from driftloop_kit.http import protocol, room
from driftloop_kit.http.server import listeners, listening_socket
from driftloop_kit.service import Context

HEAD = b"POST /bytes HTTP/1.1\r\nhost: localhost\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def slow_api(let_go: asyncio.Event) -> Callable[[Context[Any]], APIRouter]:
    def api(context: Context[Any]) -> APIRouter:
        router = toy_api(context)

        @router.get("/slow")
        async def slow() -> None:
            await let_go.wait()

        @router.get("/endless")
        async def endless() -> StreamingResponse:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"first"
                await let_go.wait()

            return StreamingResponse(pieces())

        @router.get("/elsewhere")
        async def elsewhere() -> None:
            raise Refused("not here yet", status=503)

        @router.post("/pieces")
        async def by_pieces(request: Request) -> int:
            return sum([len(piece) async for piece in request.stream()])

        return router

    return api


@asynccontextmanager
async def opened(client: httpx.AsyncClient, count: int) -> AsyncIterator[list[Connection]]:
    port = client.base_url.port
    assert port is not None
    made = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    yield made
    for _, writer in made:
        writer.close()


async def said(connection: Connection, more: Sequence[bytes] = ()) -> bytes:
    """The whole answer; a connection that is kept has said it once its length is there."""
    for piece in more:
        connection[1].write(piece)
    async with asyncio.timeout(5):
        head = await connection[0].readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        return head + await connection[0].readexactly(length)


async def until(client: httpx.AsyncClient, path: str, status: int) -> httpx.Response:
    async with asyncio.timeout(5):
        while (answer := await client.get(path)).status_code != status:  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.01)
    return answer


async def for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 1000)
        await writer.drain()
        await asyncio.sleep(0.01)


async def test_what_is_beyond_is_refused_at_once_and_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_WORKING", 2)
    let_go = asyncio.Event()
    async with served(slow_api(let_go)) as client:
        asking = [asyncio.create_task(client.get("/slow")) for _ in range(2)]
        refused = await until(client, "/refused", 503)
        assert refused.json() == {"error": "too much is asked at once"}
        for answer in (
            refused,
            await client.post("/rows", json={"distance": 1}),
            await client.post("/hot", content=b"1"),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        for path in ("/live", "/ready", "/metrics"):
            assert (await client.get(path)).status_code == 200
        assert (await client.head("/refused")).status_code == 503
        counted = int(float((await client.get("/metrics")).text.split('requests_total{status="503"} ')[1].split()[0]))
        assert (await client.get("/refused", headers={"connection": "close"})).status_code == 503
        assert f'requests_total{{status="503"}} {counted + 1}.0' in (await client.get("/metrics")).text
        let_go.set()
        assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200, 200]
        for _ in range(10):
            assert (await client.post("/hot", content=b"1")).status_code == 200


async def test_a_crowd_in_one_connection_is_refused_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_WORKING", 1)
    let_go = asyncio.Event()
    async with served(slow_api(let_go)) as client, opened(client, 1) as (crowd,):
        asking = asyncio.create_task(client.get("/slow"))
        await until(client, "/refused", 503)
        crowd[1].write(
            b"GET /refused HTTP/1.1\r\nhost: localhost\r\n\r\n" * 3000
            + b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n"
        )
        for _ in range(3000):
            assert (await said(crowd)).startswith(b"HTTP/1.1 503")
        assert (await said(crowd)).startswith(b"HTTP/1.1 200")
        let_go.set()
        assert (await asking).status_code == 200


async def test_an_answer_without_an_end_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_WORKING", 1)
    let_go = asyncio.Event()
    async with served(slow_api(let_go)) as client, client.stream("GET", "/endless") as answer:
        assert await anext(answer.aiter_raw()) == b"first"
        assert (await client.post("/hot", content=b"1")).status_code == 200
        let_go.set()


async def test_whoever_says_another_time_says_when() -> None:
    async with served(slow_api(asyncio.Event())) as client:
        elsewhere = await client.get("/elsewhere")
        assert (elsewhere.status_code, elsewhere.headers["retry-after"]) == (503, "1")


async def test_who_drips_a_body_takes_no_place_and_goes_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_WORKING", 2)
    monkeypatch.setattr(room, "MAX_ARRIVING", 2)
    async with served() as client, opened(client, 3) as drips:
        for connection in drips[:2]:
            connection[1].write(HEAD + b"content-length: 10\r\n\r\nx")
        await asyncio.sleep(0.1)
        assert (await client.post("/hot", content=b"1")).status_code == 200
        # The caller above was the third that arrived: the first had to go.
        first = await said(drips[0])
        assert first.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in first
        assert (await said(drips[1], [b"y" * 9])).endswith(b'{"size":10}')


async def test_what_is_held_of_bodies_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_HELD_BYTES", 500_000)
    async with served() as client, opened(client, 3) as drips:
        for size, connection in zip((100_000, 300_000, 1), drips, strict=True):
            connection[1].write(HEAD + b"content-length: 900000\r\n\r\n" + b"x" * size)
        await asyncio.sleep(0.2)
        assert (await client.post("/bytes", content=b"x" * 200_000)).json() == {"size": 200_000}
        assert (await said(drips[1])).startswith(b"HTTP/1.1 503")
        assert (await client.post("/bytes", content=b"x" * 390_000)).json() == {"size": 390_000}
        assert (await client.post("/bytes", content=b"x" * 600_000)).status_code == 503


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"content-length: 2147483648\r\n\r\n", 413),
        (HEAD + b"content-length: 2147483648\r\nexpect: 100-continue\r\n\r\n", 413),
        (HEAD + b"content-length: 99999999999999999999999\r\n\r\n", 400),
        (HEAD + b"content-length: -1\r\n\r\n", 400),
        (HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n12345", 400),
        (HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n", 400),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", 400),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"a: " + b"b" * 40_000, 400),
    ],
)
async def test_lengths_that_can_not_be_are_refused_at_once(sent: bytes, status: int) -> None:
    async with served() as client, opened(client, 1) as (connection,):
        assert (await said(connection, [sent])).startswith(b"HTTP/1.1 %d" % status)


async def test_who_goes_on_sending_after_the_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.3)
    async with served() as client, opened(client, 2) as (endless, whole):
        assert (await said(endless, [HEAD + b"content-length: 3000000\r\n\r\n"])).startswith(b"HTTP/1.1 413")
        assert (await said(whole, [HEAD + b"content-length: 3000000\r\n\r\n"])).startswith(b"HTTP/1.1 413")
        whole[1].write(b"x" * 3_000_000)
        await whole[1].drain()
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionError):
                await for_ever(endless[1])
        assert (await said(whole, [HEAD + b"content-length: 1\r\n\r\n1"])).endswith(b'{"size":1}')


async def test_who_was_never_served_makes_place_for_new_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 10)
    monkeypatch.setattr(protocol, "GRACE_CONNECTIONS", 5)
    monkeypatch.setattr(protocol, "CLOSED_AT_ONCE", 2)
    let_go = asyncio.Event()
    ask = b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n"
    async with served(slow_api(let_go)) as client, opened(client, 1) as (kept,):
        assert (await said(kept, [ask])).endswith(b"true}")
        async with opened(client, 1) as (busy,):
            busy[1].write(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
            async with opened(client, 30) as held:
                await asyncio.sleep(0.1)
                assert (await said(kept, [ask])).endswith(b"true}")
                assert (await held[0][0].read()) == b""
                assert (await client.get("/live")).status_code == 200
            let_go.set()
            assert (await said(busy)).startswith(b"HTTP/1.1 200")


async def test_who_came_new_is_not_behind_a_crowd_of_turns() -> None:
    """uvloop accepts one connection a turn of the loop and listener; a busy server's turns are long."""
    bound = listening_socket("127.0.0.1", 0)
    made: list[asyncio.BaseTransport] = []

    class Made(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    async def turns() -> int:
        loop = asyncio.get_running_loop()
        for one in listeners(bound):
            await loop.create_server(Made, sock=one)
        callers = [socket.create_connection(bound.getsockname()) for _ in range(64)]
        passed = 0
        while len(made) < len(callers) and passed < 1000:
            passed += 1
            await asyncio.sleep(0)
        for caller in (*callers, *made):
            caller.close()
        return passed

    assert await asyncio.to_thread(uvloop.run, turns()) < 32
