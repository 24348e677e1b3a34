"""Where the parts answer: the environment, else the stack that runs here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from libs.client.tests.command import driftloop

from driftloop.addresses import Unknown, address_of, credentials


@pytest.fixture(autouse=True)
def nobody_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DRIFTLOOP_KAFKA", "DRIFTLOOP_CONSOLE", "DRIFTLOOP_REGISTRY", "DRIFTLOOP_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DRIFTLOOP_HOME", str(tmp_path))


def test_the_environment_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLOOP_KAFKA", "broker:9092")
    monkeypatch.setenv("DRIFTLOOP_CONSOLE", "http://console:8085/")
    assert address_of("kafka") == "broker:9092"
    assert address_of("console") == "http://console:8085"


def test_else_the_stack_that_was_started_here_says_it(tmp_path: Path) -> None:
    parts = {"console": {"address": "http://127.0.0.1:4001"}, "registry": {"address": None}}
    (tmp_path / "stack.json").write_text(json.dumps({"kafka": "127.0.0.1:4000", "parts": parts}))
    assert address_of("kafka") == "127.0.0.1:4000"
    assert address_of("console") == "http://127.0.0.1:4001"
    with pytest.raises(
        Unknown, match=r"registry is not running in .*: see `driftloop status`, or set DRIFTLOOP_REGISTRY"
    ):
        address_of("registry")
    with pytest.raises(Unknown, match="monitor is not running"):
        address_of("monitor")


def test_a_record_that_was_cut_short_is_told(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text('{"kafka": ')
    with pytest.raises(Unknown, match="start the stack again, or set DRIFTLOOP_KAFKA"):
        address_of("kafka")


def test_without_either_the_command_says_what_to_do() -> None:
    code, _, complained = driftloop("freeze", "fraud")
    assert code == 1
    assert complained == (
        "driftloop: no address of console: start a stack here with `driftloop up`, or set DRIFTLOOP_CONSOLE\n"
    )


def test_a_service_that_does_not_answer_is_named() -> None:
    code, _, complained = driftloop("why", "fraud", DRIFTLOOP_REGISTRY="http://127.0.0.1:9")
    assert code == 1
    assert complained.startswith("driftloop: http://127.0.0.1:9/loop/models/fraud/why does not answer (")
    assert complained.endswith("see `driftloop status`\n")


def test_a_key_is_shown_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials() == {}
    monkeypatch.setenv("DRIFTLOOP_API_KEY", "k" * 40)
    assert credentials() == {"authorization": "Bearer " + "k" * 40}
