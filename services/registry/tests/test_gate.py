"""The gate, without anything around it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from registry.domain.deployment import Champion, Deployment, Rollout
from registry.domain.gate import (
    Bar,
    Candidate,
    Compare,
    First,
    Hold,
    Ignore,
    Judgement,
    Promote,
    Refuse,
    Slice,
    judge,
    next_step,
)
from registry.domain.policy import Policy

NOON = datetime(2013, 6, 28, 9, tzinfo=UTC)
SERVING = Deployment(revision=1, champion=Champion("1", NOON), ceiling="1")
COMPARING = replace(SERVING, rollout=Rollout("2", NOON, (NOON,), ("candidate",)))
GOOD = Candidate("2", Bar(0.15, (0.14, 0.16)), gain=0.1, compared_with="1", latency_ms=0.5)
LOOK = Judgement("2", "1", 1, 2, 6000, 0.27, 0.114, 0.57, {"last_24h_rate": 0.629}, NOON)
CEILING = Bar(0.15, (0.13, 0.17))


def test_the_first_version_answers_at_once_however_bad() -> None:
    assert judge(Candidate("1", Bar(9.0)), Deployment(), None, Policy()) == First()


def test_a_better_version_is_led_in_as_a_challenger() -> None:
    assert judge(GOOD, SERVING, CEILING, Policy()) == Compare()


def test_a_direct_rollout_promotes_on_the_back_test_alone() -> None:
    assert isinstance(judge(GOOD, SERVING, CEILING, Policy(mode="direct")), Promote)


def test_a_direct_rollout_demands_that_the_back_test_was_against_the_champion_of_now() -> None:
    stale = replace(GOOD, compared_with="0")
    refusal = judge(stale, SERVING, CEILING, Policy(mode="direct"))
    assert isinstance(refusal, Refuse)
    assert "version 1 answers now" in refusal.reason


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gain": 0.0}, "gains 0 over version 1"),
        ({"gain": -0.02}, "gains -0.02"),
        ({"gain": None}, "no loss of the incumbent"),
        ({"latency_ms": 21.0}, "allows 20 ms"),
        ({"latency_ms": None}, "not measured"),
        ({"slices": (Slice("origin is EWR", 500, 0.6, 0.5),)}, "worse than the incumbent where origin is EWR"),
    ],
)
def test_a_back_test_that_does_not_convince_is_refused_in_words(change: dict[str, object], says: str) -> None:
    refusal = judge(replace(GOOD, **change), SERVING, CEILING, Policy(max_latency_ms=20))  # type: ignore[arg-type]  # each value fits its field
    assert isinstance(refusal, Refuse)
    assert says in refusal.reason


def test_a_slice_of_a_few_rows_says_nothing() -> None:
    assert judge(replace(GOOD, slices=(Slice("origin is LGA", 29, 0.6, 0.5),)), SERVING, CEILING, Policy()) == Compare()


def test_a_frozen_model_takes_no_challenger() -> None:
    refusal = judge(GOOD, replace(SERVING, frozen=True), CEILING, Policy())
    assert isinstance(refusal, Refuse)
    assert "frozen" in refusal.reason


def test_a_loss_above_the_ceiling_by_more_than_its_interval_waits_for_approval() -> None:
    above = replace(GOOD, loss=Bar(0.2, (0.18, 0.22)))
    waits = judge(above, SERVING, CEILING, Policy())
    assert isinstance(waits, Refuse)
    assert waits.missing == ("approval",)
    assert judge(above, SERVING, CEILING, Policy(), approved=True) == Compare()


def test_a_loss_above_the_ceiling_within_its_interval_does_not_wait() -> None:
    assert judge(replace(GOOD, loss=Bar(0.18, (0.165, 0.195))), SERVING, CEILING, Policy()) == Compare()


def test_where_the_declaration_demands_approval_even_the_first_version_waits() -> None:
    policy = Policy(approval_required=True)
    assert isinstance(judge(Candidate("1", Bar(0.1)), Deployment(), None, policy), Refuse)
    assert judge(Candidate("1", Bar(0.1)), Deployment(), None, policy, approved=True) == First()


def test_an_approval_opens_nothing_but_what_waits_for_it() -> None:
    assert isinstance(judge(replace(GOOD, gain=-1.0), SERVING, CEILING, Policy(), approved=True), Refuse)


FLOOR = Policy(floors=("last_24h_rate",))


def test_a_look_promotes_when_nothing_is_lacking() -> None:
    assert isinstance(next_step(COMPARING, LOOK, FLOOR), Promote)


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({"lower": 0.0}, "lower"),
        ({"gain": 0.0, "lower": -0.1}, "gain"),
        ({"challenger_loss": 0.629}, "last_24h_rate"),
        ({"floors": {}}, "last_24h_rate"),
        ({"slices_worse": ("origin is EWR",)}, "slices"),
    ],
)
def test_what_is_lacking_holds_at_the_first_look_and_refuses_at_the_last(change: dict[str, object], lacks: str) -> None:
    early = replace(LOOK, **change)  # type: ignore[arg-type]  # each value fits its field
    assert isinstance(next_step(COMPARING, early, FLOOR), Hold)
    last = next_step(COMPARING, replace(early, look=2), FLOOR)
    assert isinstance(last, Refuse)
    assert lacks in last.missing


def test_the_gain_must_be_above_what_the_gate_demands() -> None:
    assert isinstance(next_step(COMPARING, LOOK, Policy(must_beat_incumbent_by=0.114)), Hold)
    assert isinstance(next_step(COMPARING, LOOK, Policy(must_beat_incumbent_by=0.113)), Promote)


def test_a_frozen_model_promotes_nobody() -> None:
    assert isinstance(next_step(replace(COMPARING, frozen=True), LOOK, FLOOR), Hold)


@pytest.mark.parametrize("about", [{"version": "3"}, {"champion": "0"}, {"since": NOON - timedelta(days=1)}])
def test_a_look_at_a_comparison_that_is_over_is_ignored(about: dict[str, object]) -> None:
    assert isinstance(next_step(COMPARING, replace(LOOK, **about), FLOOR), Ignore)  # type: ignore[arg-type]  # as above


def test_without_a_challenger_every_look_is_ignored() -> None:
    assert isinstance(next_step(SERVING, LOOK, FLOOR), Ignore)
