"""What a model sees: what the caller brought, and what the views knew at the request's time."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.domain.features import Promise, Reading, Rule, columns, faults, fits, see, segment

HOUR_US = 3_600_000_000
WIND = Rule("wind", "number", view="weather", entity="origin", field="wind_mph", max_age_us=4 * HOUR_US, on_stale=None)
PROMISE = Promise((Rule("distance", "number"), Rule("origin", "category"), WIND), segments=("origin",))
ROW = {"distance": 300, "origin": "JFK"}


def seen_at(at_us: int, reading: Reading | None, row: dict[str, Any] = ROW) -> Any:
    return see(PROMISE, row, {}, lambda view, entity: reading if (view, entity) == ("weather", "JFK") else None, at_us)


def test_features_stand_in_declared_order_and_views_fill_what_the_caller_left_out() -> None:
    seen = seen_at(5 * HOUR_US, Reading({"wind_mph": 11.0}, 2 * HOUR_US, 0))
    assert list(seen.values.items()) == [("distance", 300), ("origin", "JFK"), ("wind", 11.0)]
    assert seen.feature_times_us == {"weather": 2 * HOUR_US}
    assert seen.set_aside == []
    assert segment(PROMISE, seen) == {"origin": "JFK"}


def test_a_value_of_the_caller_wins_over_the_view() -> None:
    seen = seen_at(5 * HOUR_US, Reading({"wind_mph": 11.0}, 2 * HOUR_US, 0), ROW | {"wind": 3.0})
    assert seen.values["wind"] == 3.0
    assert seen.feature_times_us == {}


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (None, "absent"),
        (Reading({"gust": 1.0}, 0, 0), "absent"),
        (Reading({"wind_mph": 11.0}, 5 * HOUR_US + 1, 0), "future"),
        (Reading({"wind_mph": 11.0}, HOUR_US - 1, 0), "stale"),
        (Reading({"wind_mph": "strong"}, 5 * HOUR_US, 0), "ill_typed"),
    ],
)
def test_what_may_not_be_used_is_set_aside_with_its_reason(reading: Reading | None, reason: str) -> None:
    seen = seen_at(5 * HOUR_US, reading)
    assert seen.values["wind"] is None
    assert seen.set_aside == [("wind", reason)]
    assert seen.feature_times_us == {}


def test_on_stale_stands_in() -> None:
    promise = Promise((Rule("origin", "category"), Rule("wind", "number", "weather", "origin", "wind", None, -1.0)))
    seen = see(promise, {"origin": "JFK"}, {}, lambda view, entity: None, 0)
    assert seen.values["wind"] == -1.0


def test_a_reading_of_exactly_the_greatest_age_is_used() -> None:
    assert seen_at(5 * HOUR_US, Reading({"wind_mph": 11.0}, HOUR_US, 0)).values["wind"] == 11.0


def test_the_entity_may_be_a_join_key_that_is_no_feature() -> None:
    promise = Promise((Rule("age", "number", "planes", "tailnum", "age"),))
    known = {("planes", "N1"): Reading({"age": 7}, 0, 0)}
    lookup = lambda view, entity: known.get((view, entity))  # noqa: E731  # one line reads better here
    assert see(promise, {}, {"tailnum": "N1"}, lookup, 1).values == {"age": 7}
    assert see(promise, {}, {}, lookup, 1).set_aside == [("age", "no_entity")]


def test_every_missing_unknown_and_ill_typed_feature_is_named_without_its_value() -> None:
    found = [str(fault) for fault in faults(PROMISE, {"distance": "far", "wind": [1], "orgin": "JFK"})]
    assert found == [
        "distance: given a string, declared number",
        "origin: given nothing, declared category",
        "wind: given a list, declared number",
        "orgin: given a string, declared nowhere",
    ]


def test_null_is_a_missing_value_that_the_caller_knows_of() -> None:
    assert faults(PROMISE, {"distance": None, "origin": None}) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, True, "1"])
def test_what_is_no_finite_number_is_no_number(value: Any) -> None:
    assert not fits(value, "number")


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.none())))
def test_whatever_fits_a_number_becomes_a_finite_float(value: Any) -> None:
    if fits(value, "number") and value is not None:
        assert math.isfinite(float(value))


@given(
    st.permutations([Reading({"n": n}, time, revision) for n, (time, revision) in enumerate([(1, 0), (2, 0), (2, 1)])])
)
def test_in_whatever_order_readings_come_the_newest_stays(readings: list[Reading]) -> None:
    held = None
    for reading in readings:
        held = reading if reading.replaces(held) else held
    assert held is not None
    assert (held.time_us, held.revision) == (2, 1)


def test_a_feature_that_the_declaration_dropped_is_missing_for_an_older_model() -> None:
    assert columns([seen_at(0, None)], ["distance", "gone"]) == {"distance": [300], "gone": [None]}
