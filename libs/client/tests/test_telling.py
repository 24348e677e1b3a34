"""A chain as people read it, from the events that the contracts have as examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from libs.client.tests.command import driftloop

from driftloop.cli.why import line, name_of, words
from driftloop.telling import told
from driftloop_contracts import FACTS

EXAMPLES = sorted((Path(__file__).parents[3] / "contracts" / "examples").glob("*.json"))


def example(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(next(path for path in EXAMPLES if kind in path.name).read_text())
    return found | {"topic": "some.v1"}


CHAIN = {
    "drift.detected": "concept drift of version 1: loss brier went from 0.164 to 0.270; collect labels: ",
    "dataset.built": "151,922 rows, sha256:abababababab",
    "candidate.trained": "151,922 rows in ",
    "challenger.judged": " after 8 windows, 6,170 outcomes",
    "deployment.changed": "version ",
    "command.given": " asks to ",
    "promotion.refused": "version ",
    "version.registered": "version ",
}


@pytest.mark.parametrize("kind", CHAIN)
def test_an_event_is_told_with_its_own_figures(kind: str) -> None:
    assert CHAIN[kind] in words(example(kind))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_event_that_there_is_can_be_told_in_one_line(path: Path) -> None:
    found = json.loads(path.read_text())
    said = told(FACTS[found["type"]].read(json.dumps(found["data"]).encode()))
    assert "\n" not in said
    assert "{" not in said
    assert "None" not in said


def test_a_link_says_when_what_and_by_which_id_it_is_found() -> None:
    link = example("drift.detected")
    first, second = line(link).plain.split("\n")
    assert first.startswith("2013-06-19 09:00  drift.detected        concept drift of version 1: loss brier")
    assert second.strip() == f"{link['id']} on some.v1"


def test_what_an_event_says_is_never_taken_for_markup() -> None:
    link = example("retrain.requested")
    link["data"]["reason"] = "[bold red]not markup[/] [link=x]"
    assert "[bold red]not markup[/] [link=x]" in line(link).plain


def test_of_a_type_that_this_version_does_not_know_the_reason_is_told() -> None:
    link = {"type": "driftloop.model.moved.v1", "data": {"reason": "a later version"}}
    assert (name_of(link), words(link)) == ("model.moved", "a later version")


def test_help_lists_every_command() -> None:
    code, said, _ = driftloop("--help")
    assert code == 0
    for name in (
        "approve",
        "demo",
        "doctor",
        "down",
        "freeze",
        "model",
        "retrain",
        "rollback",
        "status",
        "unfreeze",
        "up",
        "watch",
        "why",
    ):
        assert f" {name} " in said
    code, said, _ = driftloop("model", "--help")
    assert code == 0
    for name in ("apply", "check", "list", "retire"):
        assert f" {name} " in said


def test_a_command_that_does_not_exist_ends_with_2() -> None:
    code, _, complained = driftloop("nonsense")
    assert code == 2
    assert "No such command 'nonsense'" in complained


def test_watching_a_topic_that_is_none_says_which_there_are() -> None:
    code, _, complained = driftloop("watch", "drift.v2")
    assert code == 1
    assert complained.startswith("driftloop: no control topic 'drift.v2'; there are ")
    assert "drift.v1" in complained
    assert "predictions.v1" not in complained
