"""What the checks read from the rows of a tally: each thing that must not be is seen."""

from __future__ import annotations

import pytest
from tests.faults.tallying import Row, effects, longest_still_s, regressions, zombie_rows
from tests.faults.verdict import Effect


def rows(*said: tuple[int, int, str], part: int = 0) -> list[Row]:
    """(offset, epoch, member), a second between them."""
    return [Row(part, at, epoch, f"c0:{at}", who, float(t)) for t, (at, epoch, who) in enumerate(said)]


def test_owners_that_follow_each_other_are_no_zombies() -> None:
    well = rows((0, 1, "a"), (1, 1, "a"), (2, 2, "b"), (3, 3, "a"))
    assert (zombie_rows(well), regressions(well)) == (0, 0)


def test_a_row_under_a_claim_that_was_taken_over_is_a_zombies() -> None:
    assert zombie_rows(rows((0, 1, "a"), (1, 2, "b"), (2, 1, "a"))) == 1


def test_two_members_under_one_claim_are_one_too_many() -> None:
    assert zombie_rows(rows((0, 1, "a"), (1, 1, "b"))) == 1


def test_a_partition_that_goes_back_is_seen_and_others_have_nothing_to_do_with_it() -> None:
    assert regressions(rows((5, 1, "a"), (3, 1, "a"))) == 1
    assert regressions([*rows((5, 1, "a")), *rows((3, 1, "a"), part=1)]) == 0


def test_the_longest_stillness_counts_from_the_start_and_to_the_end() -> None:
    assert longest_still_s(rows((0, 1, "a"), (1, 1, "a")), -4.0, 3.0) == pytest.approx(4.0)
    assert longest_still_s(rows((0, 1, "a"), (1, 1, "a")), 0.0, 7.0) == pytest.approx(6.0)


def test_an_id_says_whose_it_is_and_which() -> None:
    assert effects(rows((7, 1, "a"))) == [Effect("c0", "c0:7", 7)]
