"""The door: commands taken and refused, and the stream of the page's parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from services.console.tests.world import START, story

from console import api as door
from console.api import changes, router
from console.board import Board
from console.page import Pictures
from driftloop_bus.errors import TryAgain
from driftloop_bus.testing import eventually
from driftloop_contracts import AnyEvent, caused, first, rfc3339
from driftloop_contracts.control_plane import CommandGiven, CommandRefused
from driftloop_kit.http.errors import install

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@dataclass
class Kept:
    """`ports.Outlet` that keeps what it was given; or is away."""

    events: list[AnyEvent] = field(default_factory=list)
    away: bool = False

    async def publish(self, event: AnyEvent) -> None:
        if self.away:
            raise TryAgain("Kafka did not take the command")
        self.events.append(event)


@dataclass
class House:
    board: Board
    pictures: Pictures
    outlet: Kept
    client: httpx.AsyncClient
    stopping: asyncio.Event


@pytest.fixture
async def house() -> AsyncIterator[House]:
    board, outlet, stopping = Board(), Kept(), asyncio.Event()
    pictures = Pictures(board, lambda: None, lambda: NOW)
    app = FastAPI()
    app.include_router(router(board, pictures, outlet, stopping))
    install(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield House(board, pictures, outlet, client, stopping)


async def test_a_command_becomes_an_event_and_is_taken(house: House) -> None:
    answer = await house.client.post(
        "/commands", json={"command": "freeze", "model": "fraud", "given_by": "ana", "reason": "audit", "id": "c1"}
    )
    assert (answer.status_code, answer.json()) == (202, {"id": "c1"})
    (event,) = house.outlet.events
    assert event.id == "c1"
    assert event.data == CommandGiven(model="fraud", command="freeze", given_by="ana", reason="audit")


async def test_a_retrain_is_of_its_effective_time_and_learns_what_had_arrived_by_then(house: House) -> None:
    await house.client.post("/commands", json={"command": "retrain", "model": "m", "effective": "2013-06-15T05:00:00Z"})
    await house.client.post(
        "/commands", json={"command": "retrain", "model": "m", "until": "2013-03-01T00:00:00+01:00"}
    )
    past, now = house.outlet.events
    assert rfc3339(past.time) == rfc3339(past.data.until) == "2013-06-15T05:00:00Z"
    assert rfc3339(now.data.until) == "2013-02-28T23:00:00Z"
    assert now.time > past.time
    assert past.id != now.id


REFUSED: dict[str, tuple[Any, str]] = {
    "an unknown command": ({"command": "destroy", "model": "m"}, "command 'destroy' is unknown; allowed are apply, approve"),
    "no command": ({"model": "m"}, "command None is unknown"),
    "no model": ({"command": "freeze"}, "model: Field required"),
    "apply without document": ({"command": "apply", "model": "m"}, "command apply needs `document`"),
    "approve without version": ({"command": "approve", "model": "m"}, "command approve needs `version`"),
    "an unknown field": ({"command": "freeze", "model": "m", "modle": "m"}, "no such field modle; allowed are command,"),
    "a time that is none": ({"command": "retrain", "model": "m", "effective": "June"}, "effective 'June' is no RFC 3339 time"),
    "a time that is a number": ({"command": "retrain", "model": "m", "effective": 5}, "effective 5 is no RFC 3339 time"),
    "a time without offset": (
        {"command": "retrain", "model": "m", "effective": "2013-06-15T05:00"}, "effective '2013-06-15T05:00' has no offset",
    ),
    "an until that is none": ({"command": "retrain", "model": "m", "until": "June"}, "until: "),
    "an id that is none": ({"command": "freeze", "model": "m", "id": 7}, "id must be text of 1 to 100 characters"),
    "an id of two lines": ({"command": "freeze", "model": "m", "id": "a\nb"}, "id must be text"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", REFUSED)
async def test_what_is_wrong_with_a_command_is_422_with_what_is_allowed(wrong: str, house: House) -> None:
    body, told = REFUSED[wrong]
    answer = await house.client.post("/commands", json=body)
    assert answer.status_code == 422
    assert told in answer.json()["error"]
    assert house.outlet.events == []


@pytest.mark.parametrize(("body", "told"), [(b"{", "the body is no JSON"), (b"[]", "must be a JSON object, got list")])
async def test_a_body_that_is_no_object_is_400(body: bytes, told: str, house: House) -> None:
    answer = await house.client.post("/commands", content=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]


async def test_while_the_log_is_away_a_command_is_503_and_may_be_given_again(house: House) -> None:
    house.outlet.away = True
    body = {"command": "freeze", "model": "m", "id": "c1"}
    answer = await house.client.post("/commands", json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    house.outlet.away = False
    assert (await house.client.post("/commands", json=body)).status_code == 202


async def test_a_command_is_pending_until_its_answer_is_heard(house: House) -> None:
    asked = first(CommandGiven(model="m", command="freeze", given_by="ana"), id="c1", time=START)
    assert (await house.client.get("/commands/c1")).json() == {"id": "c1", "state": "pending", "heard": False}
    house.board.hear(asked, "commands.v1")
    assert (await house.client.get("/commands/c1")).json() == {"id": "c1", "state": "pending", "heard": True}
    refused = caused(CommandRefused(model="m", command="freeze", reason="no model 'm' is declared"), asked.as_cause())
    house.board.hear(refused, "registry.v1")
    assert (await house.client.get("/commands/c1")).json() == {
        "id": "c1", "state": "answered", "type": "driftloop.command.refused.v1", "event_id": refused.id, "refused": True,
        "reason": "no model 'm' is declared",
    }  # fmt: skip


async def test_the_page_and_its_parts_come_from_here_alone(house: House) -> None:
    for service, event in story("m"):
        house.board.hear(event, service)
    page = await house.client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert "Dataset built" in page.text
    for name in ("console.css", "console.js", "htmx.min.js", "sse.min.js", "uPlot.iife.min.js", "uPlot.min.css"):
        assert f"/static/{name}" in page.text
        assert (await house.client.get(f"/static/{name}")).status_code == 200
    assert (await house.client.get("/static/../board.py")).status_code == 404


async def test_models_are_told_to_programs(house: House) -> None:
    for service, event in story("m"):
        house.board.hear(event, service)
    (model,) = (await house.client.get("/models")).json()
    assert (model["model"], model["deployment"]["champion"]["version"], model["open_incidents"]) == ("m", "2", [])
    assert model["story"][0]["kind"] == "ModelDeclared"


async def test_the_stream_sends_every_part_at_once_then_those_that_changed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "LOOK_EVERY_S", 0.001)
    heard: list[str] = []

    async def listen() -> None:
        async for piece in changes(house.pictures, house.stopping):
            heard.append(piece.decode())  # noqa: PERF401  # the test looks at the list while it grows

    listening = asyncio.create_task(listen())
    await eventually(lambda: len(heard) == 4)
    assert [piece.split("\n")[0] for piece in heard] == [
        "event: health",
        "event: models",
        "event: story",
        "event: tail",
    ]
    assert all(piece.endswith("\n\n") and piece.count("\n") == 3 for piece in heard)
    house.board.hear(
        first(CommandGiven(model="m", command="freeze", given_by="ana"), id="c1", time=START), "commands.v1"
    )
    await eventually(lambda: len(heard) > 4)
    assert [piece.split("\n")[0] for piece in heard[4:]] == ["event: tail"], "of a model that nobody declared"
    for service, event in story("m"):
        house.board.hear(event, service)
    await eventually(lambda: any(piece.startswith("event: chart\n") for piece in heard))
    house.stopping.set()
    await asyncio.wait_for(listening, 5)


async def test_a_stream_on_which_nothing_happens_shows_that_it_is_there(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(door, "HEARTBEAT_S", 0.003)
    pieces = changes(house.pictures, house.stopping)
    for _ in range(4):
        await anext(pieces)
    assert await asyncio.wait_for(anext(pieces), 5) == b": still here\n\n"


async def test_pages_beyond_the_hundredth_are_turned_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_STREAMS", 0)
    answer = await house.client.get("/events")
    assert answer.status_code == 503
    assert "pages are open on this console already" in answer.json()["error"]
