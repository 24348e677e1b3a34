"""What people ask for, and what they are told."""

from typing import Any

import pytest
from services.registry.tests.world import (
    DAY,
    JUNE,
    MODEL,
    a_registry,
    better,
    candidate,
    command,
    declared,
    document,
    judged,
    one,
    told,
    with_challenger,
)

from driftloop_contracts.control_plane import (
    ApprovalGiven,
    CommandRefused,
    DeploymentChanged,
    ModelDeclared,
    PromotionRefused,
    ViewDeclared,
)


async def test_an_applied_declaration_holds_and_carries_its_digest() -> None:
    events = await a_registry().on_command_given(command("apply", document=document()))
    fact = one(events, ModelDeclared)
    assert (fact.model, fact.applied_by, fact.document.owner) == (MODEL, "anna", "ops-team")
    assert fact.digest.startswith("sha256:")


async def test_the_same_document_again_gives_the_same_digest_by_a_new_event() -> None:
    registry = a_registry()
    before = await registry.on_command_given(command("apply", document=document()))
    after = await registry.on_command_given(command("apply", JUNE + DAY, document=document()))
    assert one(before, ModelDeclared) == one(after, ModelDeclared)
    assert before[0].id != after[0].id
    assert after[0].causation == command("apply", JUNE + DAY, document=document()).id


async def test_a_view_is_declared_under_its_own_key() -> None:
    view = {"view": "weather", "entity": "origin", "features": {"temp": "number"}}
    events = await a_registry().on_command_given(command("apply", model="view/weather", document=view))
    assert one(events, ViewDeclared).key() == "view/weather"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "needs the whole document"),
        ({}, "starts with `model:` or `view:`"),
        (document(model="other"), "its document about 'other'"),
        (document(colour="red"), "colour: no such key; allowed here are ['features', 'gate'"),
        (document(gate={"floor": []}), "gate.floor: no such key; allowed here are ['approval', 'floors'"),
        (document(task="guess"), "given 'guess'"),
        (document(features={}), "features"),
        (document(segments=["planet"]), "unknown features ['planet']"),
        (document(rollout={"look_after": ["7x"]}), "'7x' is no duration"),
        ({"model": MODEL}, "owner: is needed"),
        (
            document(features={"a": {"type": "number", "max_agee": "4h"}}),
            "max_agee: no such key; allowed here are ['entity', 'field'",
        ),
    ],
)
async def test_a_document_that_can_not_hold_is_refused_with_what_was_given_and_allowed(
    given: dict[str, Any] | None, says: str
) -> None:
    registry = a_registry()
    events = await registry.on_command_given(command("apply", document=given))
    assert told(events) == ["CommandRefused"]
    assert says in one(events, CommandRefused).reason
    assert await registry.models.declared(MODEL) is None


async def test_a_rollback_brings_the_previous_version_back() -> None:
    registry = await with_challenger()
    await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY))
    events = await registry.on_command_given(command("rollback", JUNE + 14 * DAY))
    deployment = one(events, DeploymentChanged)
    assert (deployment.reason, deployment.champion.version, deployment.previous.version) == ("rolled back", "1", "2")
    assert deployment.champion.since == JUNE + 14 * DAY


async def test_a_rollback_ends_a_running_comparison() -> None:
    registry = await with_challenger()
    await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY))
    await registry.on_candidate_trained(better("third", JUNE + 14 * DAY, incumbent_version="2"))
    events = await registry.on_command_given(command("rollback", JUNE + 15 * DAY))
    assert one(events, PromotionRefused).version == "3"
    assert one(events, DeploymentChanged).challengers == []


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("rollback", {}, "no previous version"),
        ("unfreeze", {}, "not frozen"),
        ("approve", {}, "needs a version"),
        ("approve", {"version": "9"}, "no version 9 was trained"),
        ("approve", {"version": "1"}, "is the champion already"),
        ("dance", {}, "no command 'dance' exists; known are"),
        ("freeze", {"model": "ghost"}, "no model 'ghost' is declared"),
        ("retire", {"model": "ghost"}, "no such model is declared"),
    ],
)
async def test_what_can_not_be_done_is_refused_in_words(name: str, fields: dict[str, Any], says: str) -> None:
    registry = await declared()
    await registry.on_candidate_trained(candidate("first"))
    events = await registry.on_command_given(command(name, **fields))
    assert told(events) == ["CommandRefused"]
    assert says in one(events, CommandRefused).reason


async def test_a_rollback_to_a_version_that_is_not_kept_names_the_one_that_is() -> None:
    registry = await with_challenger()
    await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY))
    events = await registry.on_command_given(command("rollback", version="7"))
    assert "only the previous version 1" in one(events, CommandRefused).reason


async def test_freeze_and_unfreeze_are_new_revisions_of_the_same_deployment() -> None:
    registry = await declared()
    await registry.on_candidate_trained(candidate("first"))
    frozen = one(await registry.on_command_given(command("freeze")), DeploymentChanged)
    thawed = one(await registry.on_command_given(command("unfreeze")), DeploymentChanged)
    assert (frozen.revision, frozen.frozen, frozen.reason) == (2, True, "frozen")
    assert (thawed.revision, thawed.frozen, thawed.reason) == (3, False, "unfrozen")
    assert thawed.champion == frozen.champion


async def test_an_approval_lets_in_what_waited_for_it() -> None:
    registry = await declared()
    await registry.on_candidate_trained(candidate("first"))
    waits = await registry.on_candidate_trained(better("second", mean=0.3, interval=(0.28, 0.32)))
    assert one(waits, PromotionRefused).missing == ["approval"]
    events = await registry.on_command_given(command("approve", JUNE + 7 * DAY, version="2"))
    assert told(events) == ["ApprovalGiven", "DeploymentChanged", "AliasMoved"]
    assert one(events, ApprovalGiven).approved_by == "anna"
    deployment = one(events, DeploymentChanged)
    assert [c.version for c in deployment.challengers] == ["2"]
    assert deployment.evidence == ["second", events[0].id]


async def test_a_retired_model_is_emptied_and_declared_retired_and_can_be_applied_again() -> None:
    registry = await with_challenger()
    events = await registry.on_command_given(command("retire", reason="sold"))
    assert told(events) == ["DeploymentChanged", "AliasMoved", "AliasMoved", "ModelRetired"]
    deployment = one(events, DeploymentChanged)
    assert (deployment.champion, deployment.challengers, deployment.previous) == (None, [], None)
    assert "is declared" in one(await registry.on_command_given(command("freeze")), CommandRefused).reason
    assert told(await registry.on_command_given(command("apply", document=document()))) == ["ModelDeclared"]
    first_again = await registry.on_candidate_trained(candidate("again", JUNE + DAY))
    assert one(first_again, DeploymentChanged).revision == deployment.revision + 1


async def test_a_retrain_command_is_the_monitors() -> None:
    registry = await declared()
    assert await registry.on_command_given(command("retrain")) == []
