"""Which version answers, and which follow."""

from hypothesis import given
from hypothesis import strategies as st

from serving.domain.rollout import Loaded, Plan, Shown, Wanted, choose


def loaded(version: str) -> Loaded:
    return Loaded(version, "sha256:0", model=None, features=())  # type: ignore[arg-type]  # nobody asks it here


def test_without_canaries_the_champion_answers() -> None:
    assert choose("late", "p1", []) is None


@given(st.text(max_size=20))
def test_a_request_always_falls_to_the_same_version_and_a_full_share_takes_all(request_id: str) -> None:
    half = [("2", 0.5)]
    assert choose("late", request_id, half) == choose("late", request_id, half)
    assert choose("late", request_id, [("2", 1.0)]) == "2"


def test_a_share_is_met_within_a_hundredth() -> None:
    chosen = [choose("late", f"p{n}", [("2", 0.05), ("3", 0.25)]) for n in range(20_000)]
    assert abs(chosen.count("2") / 20_000 - 0.05) < 0.01
    assert abs(chosen.count("3") / 20_000 - 0.25) < 0.01


def test_a_previous_champion_follows_until_its_time_in_event_time() -> None:
    champion, shadow, previous = loaded("2"), loaded("3"), loaded("1")
    shown = Shown(Plan("late", 1, Wanted("2", "d")), champion, shadows=((shadow, None), (previous, 100)))
    assert shown.followers(99, champion) == [shadow, previous]
    assert shown.followers(100, champion) == [shadow]
    assert shown.followers(99, shadow) == [previous]


def test_a_version_that_plays_two_parts_scores_a_row_once() -> None:
    champion, again, previous = loaded("2"), loaded("2"), loaded("1")
    shadows = ((again, None), (previous, 100), (loaded("1"), None))
    shown = Shown(Plan("late", 1, Wanted("2", "d")), champion, shadows=shadows)
    assert [one.version for one in shown.followers(0, champion)] == ["1"]
