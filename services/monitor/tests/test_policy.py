"""When a model is to be learnt again."""

from dataclasses import replace

from services.monitor.tests.world import declaration

from monitor.domain import policy
from monitor.domain.link import Link
from monitor.domain.losses import DAY_US
from monitor.domain.policy import NEVER, Ask, Held, Pursuit
from monitor.handlers.heard import rules_of

RULES = rules_of(declaration())
ALARM = Link("alarm", 10 * DAY_US, "outcome")


def collecting(**changes: object) -> Pursuit:
    return replace(policy.alarmed(Pursuit(), RULES, "incident", ALARM, 10 * DAY_US), **changes)  # type: ignore[arg-type]  # any field


def test_the_alarm_begins_the_wait_and_nothing_more() -> None:
    pursuit = collecting()
    assert (pursuit.stage, pursuit.since_us, pursuit.needed) == ("collecting", 10 * DAY_US, 250)


def test_enough_fresh_outcomes_ask_for_one_retrain() -> None:
    pursuit, ask = policy.enough(collecting(), RULES, False, 12 * DAY_US, "250 outcomes")
    assert isinstance(ask, Ask)
    assert (ask.at_us, ask.attempt, ask.incident, ask.cause, ask.reason) == (
        12 * DAY_US,
        1,
        "incident",
        ALARM,
        "250 outcomes",
    )
    assert (pursuit.stage, pursuit.asked_us) == ("requested", (12 * DAY_US,))


def test_a_frozen_model_asks_for_nothing_until_it_is_thawed() -> None:
    pursuit, held = policy.enough(collecting(), RULES, True, 12 * DAY_US)
    assert isinstance(held, Held)
    assert held.name == "frozen"
    assert (pursuit.stage, pursuit.not_before_us) == ("waiting", NEVER)
    assert policy.thawed(pursuit, 13 * DAY_US).not_before_us == 13 * DAY_US


def test_in_the_cool_down_the_request_waits_for_its_end() -> None:
    now = 12 * DAY_US
    pursuit, held = policy.enough(collecting(asked_us=(now - DAY_US // 4,)), RULES, False, now)
    assert isinstance(held, Held)
    assert held.name == "cooldown"
    assert pursuit.not_before_us == now + DAY_US * 3 // 4
    _, ask = policy.enough(pursuit, RULES, False, pursuit.not_before_us)
    assert isinstance(ask, Ask)


def test_more_than_the_days_limit_wait_until_one_is_a_day_old() -> None:
    rules, now = replace(RULES, cooldown_us=1, max_per_day=2), 12 * DAY_US
    pursuit, held = policy.enough(collecting(asked_us=(now - 100, now - 50)), rules, False, now)
    assert isinstance(held, Held)
    assert held.name == "max_per_day"
    assert pursuit.not_before_us == now - 100 + DAY_US


def test_a_failed_training_waits_for_twice_as_many_outcomes_and_at_most_eight_times() -> None:
    pursuit, waits = collecting(), []
    for attempt in range(5):
        pursuit, _ = policy.enough(pursuit, RULES, False, (12 + 2 * attempt) * DAY_US)
        pursuit = policy.failed(replace(pursuit, request_id="r"), RULES, "r")
        waits.append(pursuit.needed)
    assert waits == [500, 1000, 2000, 2000, 2000]
    assert (pursuit.stage, pursuit.attempt, pursuit.since_us) == ("collecting", 6, 20 * DAY_US)


def test_the_failure_of_another_request_changes_nothing() -> None:
    pursuit, _ = policy.enough(collecting(), RULES, False, 12 * DAY_US)
    pursuit = replace(pursuit, request_id="mine")
    assert policy.failed(pursuit, RULES, "another") == pursuit
    assert policy.trained(pursuit, RULES, "another", 13 * DAY_US) == pursuit


def test_a_candidate_that_never_becomes_a_challenger_counts_as_refused() -> None:
    pursuit, _ = policy.enough(collecting(), RULES, False, 12 * DAY_US)
    pursuit = policy.trained(replace(pursuit, request_id="r"), RULES, "r", 12 * DAY_US)
    assert (pursuit.stage, pursuit.not_before_us) == ("trained", 13 * DAY_US)
    assert policy.again(pursuit, RULES).needed == 500


def test_an_alarm_while_a_new_version_is_on_its_way_asks_for_no_second_one() -> None:
    pursuit = policy.alarmed(Pursuit(stage="rollout"), RULES, "incident", ALARM, 10 * DAY_US)
    assert (pursuit.stage, pursuit.incident) == ("rollout", "incident")


def test_the_age_of_the_serving_version_asks_where_nothing_else_does() -> None:
    rules = replace(RULES, also_every_us=30 * DAY_US)
    pursuit, ask = policy.aged(Pursuit(), rules, False, ALARM, 40 * DAY_US)
    assert isinstance(ask, Ask)
    assert (ask.incident, ask.cause, pursuit.ages) == (None, ALARM, 1)
    busy, nothing = policy.aged(collecting(), rules, False, ALARM, 40 * DAY_US)
    assert nothing is None
    assert busy.stage == "collecting"


def test_a_promotion_ends_the_pursuit_but_not_the_cool_down() -> None:
    pursuit, _ = policy.enough(collecting(), RULES, False, 12 * DAY_US)
    assert policy.settled(pursuit) == Pursuit(asked_us=(12 * DAY_US,))


def test_when_the_loss_comes_back_the_wait_is_given_up_and_said() -> None:
    pursuit, held = policy.dropped(collecting(), 15 * DAY_US)
    assert held is not None
    assert (held.name, pursuit.stage) == ("cleared", "watching")
    under_way, nothing = policy.dropped(Pursuit(stage="requested", incident="i", cause=ALARM), 15 * DAY_US)
    assert nothing is None
    assert under_way.stage == "requested"
