"""Decisions need no fixture."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from newborn.domain import Standing, newer


@given(st.permutations([1, 2, 3, 4]), st.integers(1, 3))
def test_in_whichever_order_and_however_often_they_come_the_highest_revision_stands(
    order: list[int], times: int
) -> None:
    known: Standing | None = None
    for revision in order * times:
        known = newer(known, Standing("m", revision, f"v{revision}")) or known
    assert known == Standing("m", 4, "v4")
