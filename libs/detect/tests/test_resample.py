"""Judging two versions on the same rows, windows as the unit."""

import numpy as np
import pytest

from driftloop_detect.errors import NotReady
from driftloop_detect.quantiles import QUANTILES, loss_to_hold, quantiles
from driftloop_detect.resample import PairedWindows, bounds, judge, log_evidence, paired
from driftloop_detect.windows import Calendar

DAY_US = 86_400_000_000


def weather(seed: int, gain: float, days: int = 14, per_day: int = 300, shared: float = 0.05) -> PairedWindows:
    """Days of rows: one gain that a day's rows share, and noise of each row."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), per_day)
    gains = gain + shared * random.standard_normal(days)[day] + 0.3 * random.standard_normal(len(day))
    return paired(day, gains, np.zeros(len(day)))


def test_gains_are_paired_by_row_and_weighted_by_rows() -> None:
    pairs = paired(np.array([1, 1, 2]), np.array([1.0, 3.0, 5.0]), np.array([0.0, 0.0, 2.0]))
    assert pairs.gains.tolist() == [2.0, 3.0]
    assert pairs.rows.tolist() == [2, 1]
    assert pairs.gain == pytest.approx((1 + 3 + 3) / 3)


def test_a_row_that_one_version_did_not_score_is_no_pair() -> None:
    pairs = paired(np.array([1, 1, 2, 2]), np.array([1.0, np.nan, 5.0, 1.0]), np.array([0.0, 0.0, 2.0, np.inf]))
    assert pairs.rows.tolist() == [1, 1]


def test_a_window_without_any_pair_is_no_window() -> None:
    pairs = paired(np.array([1, 2]), np.array([1.0, np.nan]), np.array([0.0, 0.0]))
    assert pairs.rows.tolist() == [1]


def test_a_better_challenger_is_better_and_a_worse_one_worse() -> None:
    assert judge(weather(0, gain=0.2), seed=1).verdict == "better"
    assert judge(weather(0, gain=-0.2), seed=1).verdict == "worse"
    assert judge(weather(0, gain=0.2), seed=1, margin=0.5).verdict == "worse"


def test_equal_versions_pass_rarely_and_far_more_often_if_rows_were_resampled() -> None:
    passed = rows_passed = 0
    for seed in range(200):
        pairs = weather(seed, gain=0.0)
        passed += judge(pairs, seed=seed).verdict == "better"
        # What resampling rows would give: the normal bound with the rows' spread, blind to the shared part.
        rows_passed += pairs.gain - 1.96 * 0.3 / np.sqrt(pairs.rows.sum()) > 0
    print(f"equal versions passed {passed} of 200 with windows as the unit, {rows_passed} with rows")
    assert passed <= 16
    assert rows_passed > 2 * passed


def test_the_interval_holds_the_truth_nearly_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        lower, upper = bounds(weather(seed, gain=0.1), seed=seed)
        held += lower <= 0.1 <= upper
    print(f"95 % interval from 14 windows held the truth in {held} of 200")
    assert held >= 172


def test_the_same_seed_gives_the_same_bounds_and_another_one_nearly() -> None:
    pairs = weather(3, gain=0.1)
    assert bounds(pairs, seed=5) == bounds(pairs, seed=5)
    assert bounds(pairs, seed=5) != bounds(pairs, seed=6)
    assert bounds(pairs, seed=5) == pytest.approx(bounds(pairs, seed=6), abs=0.01)


def test_a_few_windows_decide_nothing_however_clear() -> None:
    judgement = judge(weather(0, gain=5.0, days=4), seed=1)
    assert judgement.verdict == "undecided"
    assert judgement.reason == "4 windows, 5 are needed"
    assert judgement.lower > 0


def test_no_pair_at_all_is_said_in_finite_numbers() -> None:
    nothing = judge(paired(np.array([], dtype=np.int64), np.array([]), np.array([])), seed=1)
    assert (nothing.verdict, nothing.rows, nothing.windows, nothing.gain, nothing.log_e) == (
        "undecided",
        0,
        0,
        0.0,
        0.0,
    )


def test_the_evidence_grows_with_a_true_gain_and_not_without() -> None:
    assert log_evidence(weather(0, gain=0.3, days=60)) > np.log(100)
    assert log_evidence(weather(0, gain=-0.3, days=60)) <= 0


def test_the_evidence_reaches_twenty_by_chance_in_at_most_one_of_twenty_streams() -> None:
    def ever_reached(seed: int) -> bool:
        pairs = weather(seed, gain=0.0, days=40, per_day=20, shared=0.3)
        upto = [log_evidence(PairedWindows(pairs.gains[:n], pairs.rows[:n])) for n in range(1, 41)]
        return bool(max(upto) >= np.log(20))

    reached = sum(ever_reached(seed) for seed in range(300))
    print(f"e-value ever at 20 without a gain: {reached} of 300")
    assert reached <= 15


def test_seven_windows_can_never_give_more_than_seventeen() -> None:
    perfect = PairedWindows(np.ones(7), np.full(7, 100))
    assert np.exp(log_evidence(perfect)) <= 17.1


def test_the_loss_to_hold_says_how_the_backtest_went() -> None:
    random = np.random.default_rng(0)
    times = np.sort(random.integers(0, 28 * DAY_US, 9000))
    losses = random.random(9000)
    held = loss_to_hold(times, losses, Calendar(DAY_US, 0, 200), seed=1)
    assert held.n == sum(window.n for window in held.windows) == 9000
    assert held.mean == pytest.approx(np.average([w.mean for w in held.windows], weights=[w.n for w in held.windows]))
    assert held.interval[0] < held.mean < held.interval[1]
    assert len(held.windows) == 28
    assert len(held.quantiles) == QUANTILES
    assert (held.quantiles[0], held.quantiles[-1]) == (losses.min(), losses.max())
    assert held.quantiles[256] == np.median(losses)


def test_without_a_filled_window_there_is_nothing_to_hold() -> None:
    with pytest.raises(NotReady, match="no window of the back-test holds 200 outcomes"):
        loss_to_hold(np.arange(100), np.ones(100), Calendar(DAY_US, 0, 200), seed=1)
    with pytest.raises(NotReady, match="at least one finite loss"):
        quantiles(np.array([np.nan]))
