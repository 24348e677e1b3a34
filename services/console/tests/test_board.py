"""The board: what is heard twice counts once, in whatever order it comes, and nothing grows without bound."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from services.console.tests.world import OUTCOME, START, Told, at, example, measured, measurements, recorded, story

from console import board as bounds
from console.board import Board
from console.curves import MAX_POINTS
from driftloop_contracts import AnyEvent, caused, first, topic_for
from driftloop_contracts.control_plane import AuditRecorded, CommandGiven, CommandRefused, ModelRetired
from driftloop_contracts.loop import RollupClosed

TOPIC = "some.v1"


def board_of(*told: list[Told]) -> Board:
    board = Board()
    for events in told:
        for _, event in events:
            board.hear(event, TOPIC)
    return board


def a_command(model: str, name: str) -> AnyEvent:
    return first(CommandGiven(model=model, command="freeze", given_by="ana"), id=name, time=START)


def test_a_month_ends_with_the_new_version_and_no_open_incident() -> None:
    model = board_of(story("m"), measurements("m", range(15, 32))).models["m"]
    assert model.deployment is not None
    assert model.deployment.champion is not None
    assert model.deployment.champion.version == "2"
    assert model.incidents == {}
    assert not model.training
    assert [line.kind for line in model.story] == [
        "ModelDeclared", "CommandGiven", "RetrainRequested", "CandidateTrained", "DeploymentChanged", "DriftDetected",
        "RetrainRequested", "DatasetBuilt", "CandidateTrained", "DeploymentChanged", "ChallengerJudged", "DeploymentChanged",
        "DriftCleared",
    ]  # fmt: skip
    assert sorted({word for _, word in model.curves.markers}) == ["drift", "first", "promoted", "retrain"]


def test_what_is_heard_twice_changes_nothing() -> None:
    events = story("m") + measurements("m", range(15, 20))
    board = board_of(events)
    before = (board.revision, list(board.tail), board.models["m"])
    for _, event in events:
        board.hear(event, TOPIC)
    assert (board.revision, board.tail, board.models["m"]) == before


@pytest.mark.parametrize("seed", range(20))
def test_the_order_in_which_topics_are_read_does_not_matter(seed: int) -> None:
    events = story("m") + measurements("m", range(15, 20))
    by_topic: dict[str, list[Told]] = {}
    for told in events:
        # One partition a topic: within it the order stands.
        by_topic.setdefault(topic_for(type(told[1].data), told[0]).name, []).append(told)
    shuffled, chance = [], random.Random(seed)
    while waiting := [queue for queue in by_topic.values() if queue]:
        shuffled.append(chance.choice(waiting).pop(0))
    found, expected = board_of(shuffled), board_of(events)
    assert found.tail == expected.tail
    assert found.models["m"] == expected.models["m"]


def test_an_answer_may_be_heard_before_its_command() -> None:
    asked = a_command("m", "asked")
    refused = caused(CommandRefused(model="m", command="freeze", reason="it is frozen"), asked.as_cause())
    board = Board()
    board.hear(refused, TOPIC)
    assert board.answer("asked") is None
    board.hear(asked, TOPIC)
    answer = board.answer("asked")
    assert answer is not None
    assert (answer.kind, answer.words) == ("CommandRefused", "it is frozen")


def test_an_audit_record_is_no_answer() -> None:
    asked = a_command("m", "asked")
    board = Board()
    board.hear(asked, TOPIC)
    board.hear(caused(example(AuditRecorded), asked.as_cause()), TOPIC)
    assert board.answer("asked") is None


def test_only_a_command_has_an_answer() -> None:
    board = board_of(story("m"))
    assert board.answer(OUTCOME) is None
    assert board.answer("nobody gave it") is None


def test_a_command_about_a_view_is_answered_and_makes_no_model() -> None:
    board = Board()
    board.hear(a_command("view/weather", "asked"), TOPIC)
    assert board.models == {}
    assert "asked" in board.commands


def test_a_training_is_open_until_its_end_is_heard_whichever_comes_first() -> None:
    events = story("m")
    alone = [told for told in events if type(told[1].data).__name__ in ("ModelDeclared", "RetrainRequested")]
    ended = [told for told in events if type(told[1].data).__name__ == "CandidateTrained"]
    assert board_of(alone).models["m"].training
    assert not board_of(alone, ended).models["m"].training
    assert not board_of(ended, alone).models["m"].training


def test_a_retired_model_is_still_shown() -> None:
    model = board_of(
        story("m"),
        [("registry", first(ModelRetired(model="m", reason="replaced", retired_by="ana"), id="r", time=at(30)))],
    ).models["m"]
    assert model.retired
    assert model.shown


def test_a_deployment_that_is_not_newer_is_passed_by() -> None:
    events = story("m")
    deployments = [told for told in events if type(told[1].data).__name__ == "DeploymentChanged"]
    model = board_of(list(reversed(deployments))).models["m"]
    assert model.deployment is not None
    assert model.deployment.revision == 3


def test_rollups_and_audit_do_not_drown_the_tail() -> None:
    board = Board()
    board.hear(first(example(RollupClosed), id="rollup", time=START), "rollups.v1")
    board.hear(first(example(AuditRecorded), id="audit", time=START), "audit.v1")
    assert board.tail == []


def test_the_tail_and_the_story_keep_the_newest() -> None:
    told = [("console", replace(a_command("m", f"c{place}"))) for place in range(bounds.MAX_STORY + 50)]
    events = recorded(told)
    for board in (board_of(events), board_of(list(reversed(events)))):
        assert [line.id for line in board.tail] == [event.id for _, event in events[-bounds.MAX_TAIL :]]
        assert [line.id for line in board.models["m"].story] == [event.id for _, event in events[-bounds.MAX_STORY :]]


def test_names_that_somebody_makes_up_drive_no_declared_model_out() -> None:
    board = board_of(story("m"))
    for place in range(bounds.MAX_MODELS + 100):
        board.hear(a_command(f"made-up-{place}", f"c{place}"), TOPIC)
    assert len(board.models) == bounds.MAX_MODELS
    assert board.models["m"].declared


def test_nothing_grows_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_SEEN", "MAX_COMMANDS", "MAX_REQUESTS"):
        monkeypatch.setattr(bounds, name, 10)
    board = Board()
    for place in range(50):
        asked = a_command("m", f"c{place}")
        board.hear(asked, TOPIC)
        board.hear(caused(CommandRefused(model="m", command="freeze", reason="no"), asked.as_cause()), TOPIC)
    for _, event in [told for day in range(50) for told in story(f"m{day}")]:
        board.hear(replace(event, id=f"{event.id}-again"), TOPIC)
    assert max(len(board.seen), len(board.commands), len(board.answers)) <= 10
    assert all(len(model.requests) <= 10 for model in board.models.values())


def test_a_curve_forgets_its_oldest_windows() -> None:
    board = Board()
    for day in range(MAX_POINTS + 10):
        _, event = measured("m", "1", "loss:brier", 1, 0.2)
        moved = event.data.model_copy(update={"window_end": START + timedelta(days=day)})
        board.hear(replace(event, id=f"d{day}", data=moved), TOPIC)
    (curve,) = board.models["m"].curves.points.values()
    assert len(curve) == MAX_POINTS
    assert min(curve) == (START + timedelta(days=10)).timestamp()
