"""A promotion that live outcomes call a mistake is taken back, unless a person holds the wheel."""

from datetime import datetime
from typing import Any

import pytest
from services.registry.tests.world import (
    DAY,
    JUNE,
    MODEL,
    better,
    command,
    document,
    judged,
    one,
    told,
    with_challenger,
)

from driftloop_contracts.control_plane import AuditRecorded, DeploymentChanged, PromotionRefused
from driftloop_contracts.event import Event, first
from driftloop_contracts.loop import RollbackAdvised
from registry.handlers import Registry


def advised(version: str = "2", previous: str = "1", at: datetime = JUNE + 20 * DAY) -> Event[RollbackAdvised]:
    """The guard has seen that the promoted version is clearly worse."""
    fact = RollbackAdvised(model=MODEL, version=version, previous=previous, reason="it loses more", evidence=["d2"])
    return first(fact, id=f"advised-{version}-{at.isoformat()}", time=at)


async def promoted(**replaced: Any) -> Registry:
    """Version 2 has replaced version 1."""
    registry = await with_challenger(**replaced)
    await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY))
    return registry


async def test_the_version_that_was_replaced_answers_again_and_the_record_says_why() -> None:
    events = await (await promoted()).on_rollback_advised(advised())
    deployment = one(events, DeploymentChanged)
    assert (deployment.reason, deployment.champion.version, deployment.previous.version) == ("rolled back", "1", "2")
    assert deployment.evidence == ["d2", advised().id]
    record = one(events, AuditRecorded)
    assert record.details["because"] == "it loses more"
    assert record.actor.startswith("registry by policy sha256:")


async def test_a_comparison_with_the_version_that_goes_is_over() -> None:
    registry = await promoted()
    await registry.on_candidate_trained(better("third", JUNE + 14 * DAY, incumbent_version="2"))
    events = await registry.on_rollback_advised(advised())
    assert one(events, PromotionRefused).version == "3"
    assert one(events, DeploymentChanged).challengers == []


async def test_the_same_advice_twice_is_heeded_once() -> None:
    registry = await promoted()
    await registry.on_rollback_advised(advised())
    assert await registry.on_rollback_advised(advised()) == []


@pytest.mark.parametrize("advice", [advised(version="1", previous="2"), advised(version="3"), advised(previous="7")])
async def test_advice_about_what_does_not_stand_so_any_more_changes_nothing(advice: Event[RollbackAdvised]) -> None:
    assert await (await promoted()).on_rollback_advised(advice) == []


async def test_what_a_person_went_back_to_is_not_undone() -> None:
    registry = await promoted()
    await registry.on_command_given(command("rollback", JUNE + 15 * DAY))
    assert await registry.on_rollback_advised(advised(version="1", previous="2")) == []


async def test_a_frozen_model_is_left_to_people() -> None:
    registry = await promoted()
    await registry.on_command_given(command("freeze", JUNE + 15 * DAY))
    assert await registry.on_rollback_advised(advised()) == []


async def test_where_approval_is_required_a_person_decides() -> None:
    registry = await promoted()
    await applied(registry, gate={"floors": ["last_24h_rate"], "approval": "required"})
    assert await registry.on_rollback_advised(advised()) == []


async def applied(registry: Registry, **replaced: Any) -> None:
    """The declaration says something else from now on."""
    events = await registry.on_command_given(command("apply", JUNE + 15 * DAY, document=document(**replaced)))
    assert told(events) == ["ModelDeclared"]
