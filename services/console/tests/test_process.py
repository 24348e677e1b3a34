"""The console as a process, on the real Kafka: what it was told while it was not there, and what it does without Kafka."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from services.console.tests.world import measurements, story

import driftloop
from driftloop_bus.testing import publish
from driftloop_contracts.topics import COMMANDS
from driftloop_kit.testing import ServiceProcess, running
from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def console(stack: LocalStack, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running("console", kafka, tmp_path_factory.mktemp("console")) as process:
        yield process


async def given(kafka: str, command_id: str) -> list[str]:
    """Models of the commands on the log up to the one with this id."""
    found = []
    stream = driftloop.subscribe(COMMANDS, kafka=kafka)
    async with asyncio.timeout(60):
        async for event in stream:
            found.append(event.data.model)
            if event.id == command_id:
                return found
    raise AssertionError("the log has no end")


async def test_a_console_that_starts_late_shows_what_every_other_shows(
    console: ServiceProcess, kafka: str, tmp_path: Path
) -> None:
    model = f"late-{uuid.uuid4().hex[:8]}"
    for service, event in story(model) + measurements(model, range(15, 20)):
        await publish(kafka, service, event)

    def told(process: ServiceProcess) -> object:
        (found,) = [
            one
            for one in process.until_page("/models", lambda all_of_them: any(whole(one, model) for one in all_of_them))
            if one["model"] == model
        ]
        return found

    with running("console", kafka, tmp_path) as late:
        assert told(late) == told(console)


def whole(shown: dict[str, object], model: str) -> bool:
    """The last event of each topic has been heard."""
    chart, history = shown["chart"], shown["story"]
    assert isinstance(chart, dict)
    assert isinstance(history, list)
    return shown["model"] == model and len(chart["times"]) == 5 and len(history) == 13


async def test_a_command_is_on_the_log_before_it_is_taken(console: ServiceProcess, kafka: str) -> None:
    model, name = f"asked-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
    answer = console.post("/commands", {"command": "freeze", "model": model, "id": name})
    assert (answer.status_code, answer.json()) == (202, {"id": name})
    assert (await given(kafka, name))[-1] == model
    console.until_page(f"/commands/{name}", lambda said: said["heard"])


def test_a_stream_ends_when_the_console_is_told_to_stop(kafka: str, tmp_path: Path) -> None:
    with running("console", kafka, tmp_path) as process:
        with httpx.stream("GET", f"{process.url}/events", trust_env=False, timeout=30) as answer:
            lines = answer.iter_lines()
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert next(lines) == "event: health"
            began = time.monotonic()
            process.process.terminate()
            assert all(line == "" or line.split(":")[0] in ("event", "data", "") for line in lines)
        assert process.process.wait(12) == 0
        assert time.monotonic() - began < 12


def test_while_kafka_is_away_the_last_state_is_shown_and_commands_are_503(
    console: ServiceProcess, stack: LocalStack, kafka: str
) -> None:
    stack.hold("kafka")
    try:
        said = console.until_page("/ready", lambda said: said.get("degraded"))
        assert said["ready"], "it can show what it knows"
        body = {"command": "freeze", "model": "m", "id": str(uuid.uuid4())}
        answer = console.post("/commands", body)
        assert answer.status_code == 503
        assert json.loads(answer.text)["error"]
        assert "not live" in console.get("/").text
    finally:
        stack.release("kafka")
    console.until_page("/ready", lambda said: not said.get("degraded"), within_s=90)
    assert console.post("/commands", body).status_code == 202
    assert "not live" not in console.get("/").text
