"""From a candidate to a champion, by the messages that the registry hears."""

from datetime import timedelta
from itertools import pairwise

from services.registry.tests.world import (
    DAY,
    JUNE,
    a_registry,
    better,
    candidate,
    command,
    declared,
    judged,
    one,
    told,
    with_challenger,
)

from driftloop_contracts.control_plane import (
    AliasMoved,
    AuditRecorded,
    DeploymentChanged,
    PromotionRefused,
    VersionRegistered,
)
from registry.domain.audit import GENESIS, chained


async def test_the_first_candidate_answers_at_once_and_its_back_test_is_the_ceiling() -> None:
    registry = await declared()
    events = await registry.on_candidate_trained(candidate("first"))
    assert told(events) == ["VersionRegistered", "DeploymentChanged", "AliasMoved"]
    deployment = one(events, DeploymentChanged)
    assert (deployment.revision, deployment.reason, deployment.champion.version) == (1, "first", "1")
    assert deployment.ceiling == deployment.champion.loss_to_hold
    assert deployment.evidence == ["first"]
    assert list(deployment.champion.features) == ["distance", "carrier", "origin"]
    assert one(events, VersionRegistered).request_id == "request-of-first"
    assert {event.time for event in events} == {JUNE}
    assert {event.causation for event in events} == {"first"}


async def test_a_candidate_of_a_model_that_nobody_declared_is_refused() -> None:
    events = await a_registry().on_candidate_trained(candidate("first"))
    assert told(events) == ["VersionRegistered", "PromotionRefused"]
    assert "apply its declaration" in one(events, PromotionRefused).reason


async def test_a_better_candidate_is_compared_as_a_shadow_with_looks_in_event_time() -> None:
    registry = await declared()
    await registry.on_candidate_trained(candidate("first"))
    events = await registry.on_candidate_trained(better("second"))
    deployment = one(events, DeploymentChanged)
    (challenger,) = deployment.challengers
    assert (deployment.revision, deployment.reason, challenger.version, challenger.mode) == (
        2,
        "challenger",
        "2",
        "shadow",
    )
    assert deployment.champion.version == "1"
    assert challenger.since == JUNE + 6 * DAY
    assert challenger.looks == [challenger.since + 7 * DAY, challenger.since + 14 * DAY]
    assert challenger.candidate == "second"
    assert one(events, AliasMoved).alias == "challenger"


async def test_a_worse_candidate_never_serves_not_even_as_a_shadow() -> None:
    registry = await declared()
    await registry.on_candidate_trained(candidate("first"))
    events = await registry.on_candidate_trained(better("second", gain=-0.01))
    assert told(events) == ["VersionRegistered", "PromotionRefused"]
    assert one(events, PromotionRefused).missing == ["gain"]


async def test_a_newer_candidate_replaces_the_older_challenger() -> None:
    registry = await with_challenger()
    events = await registry.on_candidate_trained(better("third", JUNE + 8 * DAY))
    assert told(events) == ["VersionRegistered", "PromotionRefused", "DeploymentChanged", "AliasMoved"]
    assert one(events, PromotionRefused).version == "2"
    assert [c.version for c in one(events, DeploymentChanged).challengers] == ["3"]


async def test_a_convincing_look_promotes_and_keeps_the_old_champion_as_a_shadow_for_28_days() -> None:
    registry = await with_challenger()
    look = JUNE + 13 * DAY
    events = await registry.on_challenger_judged(judged("2", 1, look))
    assert told(events) == ["DeploymentChanged", "AliasMoved", "AliasMoved"]
    deployment = one(events, DeploymentChanged)
    assert (deployment.revision, deployment.reason, deployment.champion.version) == (3, "promoted", "2")
    assert deployment.champion.since == look
    assert deployment.champion.loss_to_hold is not None
    assert deployment.challengers == []
    assert deployment.previous.version == "1"
    assert deployment.previous.shadow_until == look + timedelta(days=28)
    assert deployment.evidence == ["second", "judged-2-1"]
    assert {event.time for event in events} == {look}


async def test_a_promotion_leaves_the_ceiling_where_a_person_set_it() -> None:
    registry = await declared()
    first = one(await registry.on_candidate_trained(candidate("first", mean=0.2)), DeploymentChanged)
    await registry.on_candidate_trained(better("second", mean=0.1))
    promoted = one(await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY)), DeploymentChanged)
    assert promoted.ceiling == first.ceiling
    assert promoted.champion.loss_to_hold.mean == 0.1


async def test_an_undecided_challenger_is_held_then_refused_at_the_last_look() -> None:
    registry = await with_challenger()
    held = await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY, lower=-0.01))
    assert told(held) == []
    assert one(held, AuditRecorded).action == "held"
    events = await registry.on_challenger_judged(judged("2", 2, JUNE + 20 * DAY, lower=-0.01))
    assert told(events) == ["PromotionRefused", "DeploymentChanged", "AliasMoved"]
    assert one(events, PromotionRefused).evidence == ["second", "judged-2-1", "judged-2-2"]
    deployment = one(events, DeploymentChanged)
    assert (deployment.reason, deployment.champion.version, deployment.challengers) == ("refused", "1", [])


async def test_a_challenger_that_was_held_is_promoted_at_the_next_look() -> None:
    registry = await with_challenger()
    await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY, lower=-0.01))
    events = await registry.on_challenger_judged(judged("2", 2, JUNE + 20 * DAY))
    assert one(events, DeploymentChanged).evidence == ["second", "judged-2-1", "judged-2-2"]


async def test_the_same_messages_again_change_nothing_and_name_the_same_events() -> None:
    registry = await with_challenger()
    promoted = await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY))
    assert await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY)) == []
    twin = await with_challenger()
    again = await twin.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY))
    assert [event.id for event in promoted] == [event.id for event in again]


async def test_a_frozen_model_refuses_a_candidate_and_says_so() -> None:
    registry = await declared()
    await registry.on_candidate_trained(candidate("first"))

    await registry.on_command_given(command("freeze"))
    events = await registry.on_candidate_trained(better("second"))
    assert "frozen" in one(events, PromotionRefused).reason


async def test_each_audit_record_is_sealed_on_top_of_the_one_before() -> None:
    registry = await declared()
    events = [
        *await registry.on_candidate_trained(candidate("first")),
        *await registry.on_candidate_trained(better("second")),
        *await registry.on_challenger_judged(judged("2", 1, JUNE + 13 * DAY)),
    ]
    records = [event for event in events if isinstance(event.data, AuditRecorded)]
    assert [event.data.sequence for event in records] == [2, 3, 4]
    for before, after in pairwise(records):
        assert after.data.previous_digest == before.data.digest
    for event in records:
        fact = event.data
        assert fact.digest == chained(
            fact.previous_digest, about=fact.about, sequence=fact.sequence, actor=fact.actor, action=fact.action,
            details=fact.details, at=event.time,
        )  # fmt: skip
        assert fact.previous_digest != GENESIS
