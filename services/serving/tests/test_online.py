"""What is kept of entities comes back as it was, the newest wins, and there is an end to how many."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serving import online
from serving.domain.features import Reading
from serving.online import OnlineReadings

NAMES = st.sampled_from(["a", "b", "ä", "long name"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8))
READINGS = st.builds(Reading, st.dictionaries(NAMES, VALUES), st.integers(-(2**62), 2**62), st.integers(0, 2**31 - 1))


@given(st.lists(st.tuples(st.sampled_from("vw"), st.sampled_from("xyz"), READINGS)))
def test_it_is_a_dictionary_in_which_the_newest_wins(puts: list[tuple[str, str, Reading]]) -> None:
    kept, expected = OnlineReadings(), dict[tuple[str, str], Reading]()
    for view, entity, reading in puts:
        kept.put(view, entity, reading)
        if reading.replaces(expected.get((view, entity))):
            expected[view, entity] = reading
    assert {key: _exact(kept.get(*key)) for key in expected} == {key: _exact(one) for key, one in expected.items()}
    assert len(kept) == len(expected)


def test_of_more_entities_than_there_is_room_for_the_further_ones_are_refused_and_counted() -> None:
    kept = OnlineReadings(max_entities=2)
    for entity in ("x", "y", "z", "x", "z"):
        kept.put("v", entity, Reading({"a": 1}, 5, 0))
    assert (len(kept), kept.refused) == (2, 2)
    assert kept.get("v", "z") is None
    assert kept.get("v", "x") == Reading({"a": 1}, 5, 0)


def test_names_that_somebody_makes_up_for_each_reading_are_not_gathered() -> None:
    kept = OnlineReadings()
    for number in range(online.MAX_SHAPES + 10):
        kept.put("v", str(number), Reading({f"name {number}": number}, 5, 0))
    assert len(kept._names) == online.MAX_SHAPES
    last = online.MAX_SHAPES + 9
    assert kept.get("v", str(last)) == Reading({f"name {last}": last}, 5, 0)


def test_a_number_that_no_machine_word_holds_is_kept_all_the_same() -> None:
    kept = OnlineReadings()
    kept.put("v", "x", Reading({"a": 2**80}, 5, 0))
    assert kept.get("v", "x") == Reading({"a": 2**80}, 5, 0)
    kept.put("v", "x", Reading({"a": 1}, 6, 0))
    assert kept.get("v", "x") == Reading({"a": 1}, 6, 0)


def _exact(reading: Reading | None) -> Any:
    """1, 1.0 and True are equal, and not the same."""
    assert reading is not None
    return reading.time_us, reading.revision, [(name, type(value), value) for name, value in reading.values.items()]
