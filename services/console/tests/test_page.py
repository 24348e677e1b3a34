"""The page's parts: everything that comes from outside is escaped, and a model's state is said in a word."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from services.console.tests.world import START, Told, at, declared, deployed, measured, measurements, story

from console.board import Board
from console.page import Pictures, Status, anchor, status
from driftloop_contracts import first
from driftloop_contracts.control_plane import CommandGiven, ModelDeclared, ModelRetired

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'
NOW = datetime(2030, 1, 1, 12, 30, 15, tzinfo=UTC)


def board_of(events: list[Told]) -> Board:
    board = Board()
    for _, event in events:
        board.hear(event, "some.v1")
    return board


def pictures(board: Board, waiting_for: str | None = None) -> Pictures:
    return Pictures(board, lambda: waiting_for, lambda: NOW)


def until(kind: str, place: int = 0) -> list[Told]:
    """The story up to its n-th event of this kind."""
    events = story("m")
    ends = [at for at, (_, event) in enumerate(events) if type(event.data).__name__ == kind]
    return events[: ends[place] + 1]


def test_an_empty_board_says_what_to_do() -> None:
    parts = pictures(Board()).parts()
    assert "driftloop model apply" in parts["models"]
    assert "driftloop retrain" in parts["story"]
    assert "No event yet" in parts["tail"]
    assert parts["health"] == ""


def test_whatever_comes_from_outside_is_escaped() -> None:
    document = declared("m").data.document.model_copy(update={"owner": EVIL})
    events: list[Told] = [
        (
            "registry",
            replace(
                declared("m"), data=declared("m").data.model_copy(update={"document": document, "applied_by": EVIL})
            ),
        ),
        ("console", first(CommandGiven(model="m", command="freeze", given_by=EVIL, reason=EVIL), id=EVIL, time=START)),
        ("console", first(CommandGiven(model=EVIL, command=EVIL, given_by=EVIL), id="2", time=START)),
        ("registry", first(deployed("m", 1, EVIL, EVIL, START), id="3", time=START)),
    ]
    made = pictures(board_of(events), waiting_for=EVIL)
    for name, text in made.parts().items():
        if not name.startswith("chart:"):
            assert "<script" not in text, name
            assert "<img" not in text, name
    assert made.page().count("<script") == 4, "our own"


def test_parts_are_one_line_each_as_server_sent_events_want_it() -> None:
    for text in pictures(board_of(story("m") + measurements("m", range(15, 20)))).parts().values():
        assert "\n" not in text
        assert "\r" not in text


def test_nothing_is_rendered_again_while_nothing_changes() -> None:
    board = board_of(story("m"))
    made = pictures(board)
    before = made.parts()
    assert made.parts() is before
    board.hear(first(CommandGiven(model="m", command="freeze", given_by="ana"), id="new", time=START), "commands.v1")
    assert made.parts() is not before


def test_a_chart_has_every_version_the_floor_and_the_markers_on_one_axis() -> None:
    parts = pictures(board_of(story("m") + measurements("m", range(15, 32)))).parts()
    chart = json.loads(parts["chart:m"])
    assert (chart["model"], chart["signal"]) == ("m", "log loss")
    assert [series["label"] for series in chart["series"]] == ["version 1", "version 2", "rate of the last 24 h"]
    assert chart["times"] == [at(day).timestamp() for day in range(15, 32)]
    assert all(len(series["values"]) == len(chart["times"]) for series in chart["series"])
    assert chart["series"][1]["values"][0] is None, "version 2 was not scored then"
    assert [marker["label"] for marker in chart["markers"]] == ["first", "retrain", "drift", "retrain", "promoted"]


def test_versions_are_in_the_order_of_their_numbers() -> None:
    events = [measured("m", version, "loss:brier", 15, 0.2) for version in ("10", "9", "2")]
    chart = json.loads(pictures(board_of([("registry", declared("m")), *events])).parts()["chart:m"])
    assert [series["label"] for series in chart["series"]] == ["version 2", "version 9", "version 10"]


def test_the_story_links_each_event_to_what_it_follows_from() -> None:
    events = story("m")
    wish = next(
        event
        for _, event in events
        if event.data.key() == "m" and "2,000 outcomes" in getattr(event.data, "reason", "")
    )
    text = pictures(board_of(events)).parts()["story"]
    assert (
        f'Dataset built</b> 151,922 rows, sha256:abababababab <small>because of <a href="#{anchor(wish.id)}">retrain requested</a>'
        in text
    )
    assert "tipped by outcome <code>5f0b6e0a-0000-5000-8000-00000000007e</code>" in text


STATES: dict[str, tuple[list[Told], Status]] = {
    "declared": (until("ModelDeclared"), Status("waits for its first version", "soft")),
    "asked for": (until("RetrainRequested"), Status("training", "cold")),
    "serving": (until("DeploymentChanged"), Status("steady", "good")),
    "alarmed": (until("DriftDetected"), Status("drift", "hot")),
    "learning": (until("RetrainRequested", 1), Status("training", "cold")),
    "compared": (until("DeploymentChanged", 1), Status("version 2 on trial", "cold")),
    "promoted": (story("m"), Status("steady", "good")),
    "retired": (
        [
            *story("m"),
            ("registry", first(ModelRetired(model="m", reason="old", retired_by="ana"), id="r", time=at(30))),
        ],
        Status("retired", "soft"),
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_a_models_state_is_said_in_a_word(state: str) -> None:
    events, expected = STATES[state]
    board = board_of(events)
    assert status(board.models["m"]) == expected
    assert f'<span class="pill {expected.tone}">{expected.words}</span>' in pictures(board).parts()["models"]


def test_the_champions_last_window_stands_beside_the_loss_that_it_is_held_to() -> None:
    events = [*story("m"), measured("m", "2", "loss:brier", 30, 0.171)]
    assert "brier 0.171, held to 0.164" in pictures(board_of(events)).parts()["models"]


def test_what_the_console_waits_for_is_said_with_the_time_from_which_on_nothing_was_heard() -> None:
    said: dict[str, Any] = {"reason": None, "now": NOW}
    made = Pictures(Board(), lambda: said["reason"], lambda: said["now"])
    assert made.parts()["health"] == ""
    said["reason"] = "the broker is away"
    assert "12:30:15" in made.parts()["health"]
    assert "the broker is away" in made.parts()["health"]
    said |= {"reason": "the broker is still away", "now": NOW + timedelta(minutes=5)}
    assert "12:30:15" in made.parts()["health"]
    assert "still away" in made.parts()["health"]
    said["reason"] = None
    assert made.parts()["health"] == ""


def test_the_page_loads_nothing_from_elsewhere() -> None:
    page = pictures(board_of(story("m"))).page()
    assert "//" not in page.replace("<!doctype html>", "").replace("http-equiv", "")
    assert isinstance(declared("m").data, ModelDeclared)
