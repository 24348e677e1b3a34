"""The door as callers meet it: a real server on a free port."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from structlog.testing import capture_logs

from driftloop_bus.errors import Refused, TryAgain
from driftloop_bus.testing import MemoryLog
from driftloop_kit.health import Health
from driftloop_kit.http import protocol
from driftloop_kit.http.app import build_app
from driftloop_kit.http.guard import is_own_name
from driftloop_kit.http.server import listening_socket, serve
from driftloop_kit.service import Context, Service
from driftloop_kit.settings import ServiceSettings
from driftloop_kit.telemetry import Telemetry

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

KEY = "k" * 40


class Row(BaseModel, extra="forbid"):
    distance: float


def toy_api(context: Context[Any]) -> APIRouter:
    router = APIRouter()

    @router.post("/rows")
    async def rows(row: Row) -> dict[str, float]:
        return {"distance": row.distance}

    @router.post("/bytes")
    async def bytes_(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    @router.get("/refused")
    async def refused() -> None:
        raise Refused("model flights is unknown; known are []", status=404)

    @router.get("/away")
    async def away() -> None:
        raise TryAgain("Postgres: no answer in time")

    @router.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("secret of the house")

    return router


def toy_hot(context: Context[Any], app: ASGIApp) -> ASGIApp:
    async def hot(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/hot":
            await app(scope, receive, send)
            return
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        if size == 3:
            raise Refused("three bytes are too few", status=422)
        content = b"%d" % size
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]}
        )
        await send({"type": "http.response.body", "body": content})

    return hot


@asynccontextmanager
async def served(api: Callable[[Context[Any]], Any] = toy_api, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    given = ServiceSettings(kafka="nowhere:1", http_port=0, **settings)
    service: Service[Any] = Service("toy", given, api=api, hot=toy_hot, body_limits={"/bytes": 2_000_000})
    context: Context[Any] = Context("toy", given, MemoryLog(), Health())
    bound, stop = listening_socket("127.0.0.1", 0), asyncio.Event()
    app = build_app(service, context, Telemetry("toy"))
    task = asyncio.create_task(serve(app, bound, stop, 2))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}") as client:
        client.extensions = {"context": context}  # type: ignore[attr-defined]  # a place for the test to reach it
        yield client
    stop.set()
    await task


async def test_live_and_ready_and_the_reasons() -> None:
    async with served() as client:
        assert (await client.get("/live")).status_code == 200
        assert (await client.get("/ready")).json() == {"ready": True, "reasons": {}}


async def test_a_service_that_waits_is_live_but_not_ready() -> None:
    async with served() as client:
        context: Context[Any] = client.extensions["context"]  # type: ignore[attr-defined]
        context.health.say("postgres", False, "the database is empty")
        context.health.fact("outbox_pending", lambda: 3)
        answer = await client.get("/ready")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "reasons": {"postgres": "the database is empty"}, "outbox_pending": 3}
        assert (await client.get("/live")).status_code == 200


async def test_metrics_count_the_answers() -> None:
    async with served() as client:
        await client.get("/refused")
        assert 'driftloop_http_requests_total{status="404"} 1.0' in (await client.get("/metrics")).text


async def test_a_page_that_lured_a_browser_here_is_stopped_on_every_path_and_verb() -> None:
    async with served() as client:
        for path in ("/live", "/ready", "/metrics", "/rows", "/hot", "/nowhere"):
            for verb in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PURGE"):
                rebound = await client.request(verb, path, headers={"host": "evil.example:80"})
                assert rebound.status_code == 421, (verb, path)
                for origin in ("https://evil.example", "null", "http://localhost"):
                    foreign = await client.request(verb, path, headers={"origin": origin})
                    assert foreign.status_code == 403, (verb, path, origin)


async def test_the_own_page_may_call() -> None:
    async with served() as client:
        own = str(client.base_url).rstrip("/")
        answer = await client.post("/rows", json={"distance": 1}, headers={"origin": own})
        assert answer.json() == {"distance": 1.0}


@pytest.mark.parametrize(
    ("host", "known"),
    [("localhost:80", True), ("127.0.0.1", True), ("[::1]:8080", True), ("[::1]", True), ("10.1.2.3:1", True),
     ("Serving:8000", True), ("serving.evil.example", False), ("localhost.evil", False), ("", False), ("::1]", True)],
)  # fmt: skip
def test_names_of_the_service(host: str, known: bool) -> None:
    assert is_own_name(host, frozenset(["serving"])) == known


async def test_a_body_beyond_the_limit_is_refused_while_it_is_read() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 65536

    async with served() as client:
        for path in ("/rows", "/hot"):
            assert (await client.post(path, content=b"x" * 1_048_577)).status_code == 413
            chunked = await client.post(path, content=endless())
            assert (chunked.status_code, chunked.json()) == (413, {"error": "the body is too large"})
        assert (await client.post("/hot", content=b"x" * 1_048_576)).text == "1048576"
        assert (await client.post("/bytes", content=b"x" * 1_500_000)).json() == {"size": 1_500_000}
        assert (await client.post("/bytes", content=b"x" * 2_000_001)).status_code == 413


async def test_every_error_has_one_shape_and_repeats_no_payload() -> None:
    async with served() as client:
        refused = await client.get("/refused")
        assert (refused.status_code, refused.json()) == (404, {"error": "model flights is unknown; known are []"})
        away = await client.get("/away")
        assert (away.status_code, away.headers["retry-after"]) == (503, "1")
        assert (await client.get("/nowhere")).json() == {"error": "Not Found"}
        assert (await client.get("/rows")).json() == {"error": "Method Not Allowed"}
        invalid = await client.post("/rows", json={"distance": "secret", "more": "secret"})
        assert invalid.status_code == 422
        assert {field["field"] for field in invalid.json()["fields"]} == {"body.distance", "body.more"}
        assert "secret" not in invalid.text
        assert (await client.post("/rows", content=b"{")).status_code == 422
        hot = await client.post("/hot", content=b"abc")
        assert (hot.status_code, hot.json()) == (422, {"error": "three bytes are too few"})


async def test_a_bug_is_500_without_its_text_and_told_whole_to_the_log() -> None:
    with capture_logs() as logs:
        async with served() as client:
            answer = await client.get("/bug")
            assert (await client.get("/live")).status_code == 200
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
    assert [(line["event"], line["path"], repr(line["exc_info"])) for line in logs] == [
        ("bug", "/bug", "ZeroDivisionError('secret of the house')")
    ]


async def test_a_protocol_may_have_an_error_shape_of_its_own() -> None:
    def api(context: Context[Any]) -> FastAPI:
        app = FastAPI()
        app.include_router(toy_api(context))

        @app.exception_handler(Refused)
        async def own(request: Request, error: Refused) -> JSONResponse:
            return JSONResponse({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": error.message}, error.status)

        return app

    async with served(api) as client:
        assert (await client.get("/refused")).json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
        assert (await client.get("/away")).status_code == 503


async def test_with_a_key_only_live_and_ready_answer_strangers() -> None:
    async with served(api_key=KEY) as client:
        for path in ("/live", "/ready"):
            assert (await client.get(path)).status_code == 200
        for path in ("/metrics", "/rows", "/hot", "/nowhere", "/live/", "//ready", "/openapi.json"):
            answer = await client.get(path)
            assert answer.status_code == 401, path
            wrong = await client.get(path, headers={"authorization": f"Bearer {'x' * 40}"})
            assert wrong.status_code == 401, path
        for given in (f"Bearer {KEY}", "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode()):
            answer = await client.post("/rows", json={"distance": 1}, headers={"authorization": given})
            assert answer.status_code == 200
        for broken in ("Basic !!!", "Bearer", "", "Basic " + base64.b64encode(b"nocolon").decode()):
            assert (await client.post("/rows", headers={"authorization": broken})).status_code == 401


async def test_who_drips_is_cut_off_and_who_sends_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADERS_WITHIN_S", 0.3)
    monkeypatch.setattr(protocol, "BODY_LOOK_S", 0.3)
    monkeypatch.setattr(protocol, "MIN_BYTES_A_LOOK", 1000)
    head = b"POST /hot HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000\r\n"
    async with served() as client:
        port = client.base_url.port
        assert port is not None
        silent, dripping, slow_body = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        dripping[1].write(head)
        slow_body[1].write(head + b"\r\n" + b"x")
        async with asyncio.timeout(5):
            assert await silent[0].read() == b""
            assert await dripping[0].read() == b""
            assert (await slow_body[0].read()).startswith(b"HTTP/1.1 400")
        steady = await asyncio.open_connection("127.0.0.1", port)
        steady[1].write(head + b"\r\n")
        for _ in range(8):
            steady[1].write(b"x" * 500)
            await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            assert (await steady[0].readuntil(b"4000")).startswith(b"HTTP/1.1 200")
            # Between two requests it may stay silent for longer.
            await asyncio.sleep(0.6)
            steady[1].write(b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await steady[0].readuntil(b"true}")).endswith(b"true}")
        for _, writer in (silent, dripping, slow_body, steady):
            writer.close()


async def test_a_header_that_decides_is_given_once() -> None:
    async with served() as client:
        port = client.base_url.port
        assert port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
