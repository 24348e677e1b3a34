"""Commands of people, through the real console and the real registry: what follows, and why it is refused."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from libs.client.tests.command import driftloop

from driftloop_contracts.documents import ModelDeclaration
from driftloop_kit.schema import migrate
from driftloop_kit.testing import ServiceProcess, running
from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack
DOCUMENT = """\
model: fraud-commands
owner: shop-team
task: binary
features: {amount: number}
train: {entry: "shop.train:train"}
"""


@pytest.fixture(scope="module")
def services(
    stack: LocalStack, kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, ServiceProcess]]:
    """Registry and console, as processes."""
    folder = tmp_path_factory.mktemp("commands")
    database = stack.create_service_database("registry_of_commands")
    asyncio.run(migrate("registry", database.owner_url))
    with (
        running("registry", kafka, folder, database.login_url) as registry,
        running("console", kafka, folder) as console,
    ):
        yield {"DRIFTLOOP_REGISTRY": registry, "DRIFTLOOP_CONSOLE": console}


@pytest.fixture(autouse=True)
def addresses(services: dict[str, ServiceProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, service in services.items():
        monkeypatch.setenv(variable, service.url)


@pytest.fixture
def declared(tmp_path: Path) -> str:
    """The file of a model that is declared."""
    file = tmp_path / "fraud.yaml"
    file.write_text(DOCUMENT)
    assert driftloop("model", "apply", str(file)) == (0, "fraud-commands: applied\n", "")
    return str(file)


def test_what_is_declared_is_listed(declared: str) -> None:
    code, said, _ = driftloop("model", "list")
    assert code == 0
    assert re.search(r"^fraud-commands +– +– +– +– +no *$", said, re.MULTILINE)


def test_a_model_that_nobody_declared_is_refused_by_the_registry() -> None:
    code, _, complained = driftloop("freeze", "nobody")
    assert code == 1
    assert re.fullmatch(r"driftloop: .*no model 'nobody' is declared.*\n", complained)


def test_a_rollback_without_a_previous_version_is_refused(declared: str) -> None:
    code, _, complained = driftloop("rollback", "fraud-commands")
    assert code == 1
    assert "previous version" in complained


def test_a_version_that_was_never_trained_cannot_be_approved(declared: str) -> None:
    code, _, complained = driftloop("approve", "fraud-commands", "--version", "7")
    assert (code, complained) == (1, "driftloop: no version 7 was trained for this model\n")


def test_a_model_can_be_frozen_once(declared: str) -> None:
    assert driftloop("freeze", "fraud-commands", "--reason", "audit")[:2] == (
        0, "fraud-commands is frozen: alerts go on, nothing is retrained or promoted\n",
    )  # fmt: skip
    assert driftloop("freeze", "fraud-commands") == (1, "", "driftloop: the model is frozen already\n")
    assert driftloop("unfreeze", "fraud-commands")[:2] == (0, "fraud-commands may change again\n")
    assert driftloop("unfreeze", "fraud-commands") == (1, "", "driftloop: the model is not frozen\n")


def test_why_without_a_live_version_says_so(declared: str) -> None:
    code, _, complained = driftloop("why", "fraud-commands")
    assert code == 1
    assert complained.startswith("driftloop: no version of 'fraud-commands' is live (404 from http://")


def test_a_time_without_offset_is_refused_at_the_door(declared: str) -> None:
    code, _, complained = driftloop("retrain", "fraud-commands", "--effective", "2013-06-15T05:00")
    assert code == 1
    assert "effective '2013-06-15T05:00' has no offset" in complained


def test_what_the_registry_would_refuse_is_refused_before_anything_is_applied(declared: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(DOCUMENT.replace("owner", "ownr"))
    code, said, complained = driftloop("model", "apply", declared, str(bad))
    assert (code, said) == (1, "")
    assert f"{bad}:2: ownr: no such key" in complained


def test_a_retired_model_is_no_longer_served(declared: str) -> None:
    assert driftloop("model", "retire", "fraud-commands")[:2] == (0, "fraud-commands is retired\n")
    code, _, complained = driftloop("model", "retire", "fraud-commands")
    assert code == 1
    assert "no such model is declared" in complained


def test_a_broker_that_is_away_for_a_moment_is_waited_for(stack: LocalStack, declared: str) -> None:
    stack.kill("kafka")
    assert driftloop("freeze", "fraud-commands")[0] == 0
    stack.wait_until_ready()
    assert driftloop("unfreeze", "fraud-commands")[0] == 0


async def test_watch_prints_events_as_json_lines(stack: LocalStack, kafka: str, declared: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "driftloop",
        "watch",
        "declarations.v1",
        env={"DRIFTLOOP_KAFKA": kafka, "PATH": str(Path(sys.executable).parent)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            async for line in process.stdout:
                event = json.loads(line)
                if event["data"].get("model") == "fraud-commands":
                    break
    finally:
        process.kill()
        await process.wait()
    assert event["type"] == "driftloop.model.declared.v1"
    assert ModelDeclaration.model_validate(event["data"]["document"]).owner == "shop-team"
