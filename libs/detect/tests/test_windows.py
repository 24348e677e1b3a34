"""Closed windows, and the trigger on them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop_detect import catalogue
from driftloop_detect.errors import DetectorRefused, NotReady, SnapshotRejected
from driftloop_detect.spec import FloatArray, IntArray
from driftloop_detect.windows import (
    Bar,
    Calendar,
    Gathering,
    Judged,
    TriggerState,
    Window,
    WindowTrigger,
    gather,
    windows_of,
)

DAY = timedelta(days=1)
HOUR_US = 3_600_000_000
DAILY = Calendar.of(DAY, "09:00Z", min_outcomes=200)
SPEC = catalogue.spec("page_hinkley")
TRIGGER = WindowTrigger(SPEC)


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


def days(means: FloatArray, first: int = 0, n: int = 800) -> list[Window]:
    return [Window((first + i) * 24 * HOUR_US, float(mean), n) for i, mean in enumerate(means)]


def losses_around(mean: float, n: int, seed: int) -> FloatArray:
    return mean + 0.02 * np.random.default_rng(seed).standard_normal(n)


def a_world(seed: int, n_days: int = 60, per_day: int = 40) -> tuple[IntArray, FloatArray]:
    """Times and losses of 60 days in log order, a little out of time order; after day 30 the loss is higher."""
    random = np.random.default_rng(seed)
    times = np.sort(random.integers(0, n_days * 24 * HOUR_US, n_days * per_day))
    day = times // (24 * HOUR_US)
    losses = random.random(len(times)) * 0.2 + 0.05 * random.standard_normal(n_days)[day] + 0.3 * (day >= 30)
    return times + random.integers(0, HOUR_US, len(times)), losses


class TestCalendar:
    @pytest.mark.parametrize(
        ("time", "close"),
        [
            ("2013-06-15T05:00:00", "2013-06-15T09:00:00"),
            ("2013-06-15T08:59:59.999999", "2013-06-15T09:00:00"),
            ("2013-06-15T09:00:00", "2013-06-15T09:00:00"),
            ("2013-06-15T09:00:00.000001", "2013-06-16T09:00:00"),
            ("1969-12-31T10:00:00", "1970-01-01T09:00:00"),
        ],
    )
    def test_a_time_belongs_to_the_window_that_closes_at_or_after_it(self, time: str, close: str) -> None:
        assert DAILY.close_of(np.array([us(time)])).tolist() == [us(close)]

    @pytest.mark.parametrize(
        ("clock", "newest"),
        [
            ("2013-06-15T09:00:00", "2013-06-14T09:00:00"),
            ("2013-06-15T09:00:00.000001", "2013-06-15T09:00:00"),
            ("2013-06-16T09:00:00", "2013-06-15T09:00:00"),
        ],
    )
    def test_a_window_is_over_when_the_clock_has_passed_its_close(self, clock: str, newest: str) -> None:
        assert DAILY.last_closed(us(clock)) == us(newest)

    def test_shorter_windows_keep_the_anchor(self) -> None:
        six_hourly = Calendar.of(timedelta(hours=6), "09:00Z", 1)
        assert six_hourly.close_of(np.array([us("2013-06-15T10:00:00")])).tolist() == [us("2013-06-15T15:00:00")]

    @pytest.mark.parametrize("length", [timedelta(0), timedelta(hours=-1), timedelta(hours=7), timedelta(hours=36)])
    def test_a_length_that_does_not_fit_the_day_is_refused(self, length: timedelta) -> None:
        with pytest.raises(ValueError, match="divides the day"):
            Calendar.of(length)

    @given(st.integers(-(10**15), 10**15))
    def test_every_time_has_one_window(self, time: int) -> None:
        close = int(DAILY.close_of(np.array([time]))[0])
        assert close - DAILY.length_us < time <= close
        assert DAILY.last_closed(time) == close - DAILY.length_us


class TestGather:
    hourly = Calendar.of(timedelta(hours=1), "00:00Z", 2)

    def gathered(self, rows: list[tuple[float, float]]) -> tuple[Gathering, list[Window]]:
        times = np.array([round(hour * HOUR_US) for hour, _ in rows], dtype=np.int64)
        return gather(Gathering(), self.hourly, times, np.array([loss for _, loss in rows]))

    def test_a_window_is_closed_by_the_first_row_after_it(self) -> None:
        state, closed = self.gathered([(0.2, 1.0), (0.4, 3.0), (1.5, 9.0)])
        assert closed == [Window(HOUR_US, 2.0, 2)]
        assert (state.n, state.total) == (1, 9.0)

    def test_a_row_on_the_boundary_still_belongs_and_does_not_close(self) -> None:
        assert self.gathered([(0.2, 1.0), (1.0, 3.0)])[1] == []
        assert self.gathered([(0.2, 1.0), (1.0, 3.0), (1.01, 5.0)])[1] == [Window(HOUR_US, 2.0, 2)]

    def test_a_window_with_too_few_rows_stays_open_until_the_next_close(self) -> None:
        _, closed = self.gathered([(0.2, 1.0), (1.5, 3.0), (2.5, 9.0)])
        assert closed == [Window(2 * HOUR_US, 2.0, 2)]

    def test_a_silence_closes_nothing_twice(self) -> None:
        _, closed = self.gathered([(0.2, 1.0), (0.3, 3.0), (9.5, 5.0), (9.6, 7.0), (30.0, 1.0)])
        assert closed == [Window(HOUR_US, 2.0, 2), Window(10 * HOUR_US, 6.0, 2)]

    def test_a_row_of_a_closed_window_comes_too_late_and_is_counted(self) -> None:
        state, closed = self.gathered([(0.2, 1.0), (0.3, 3.0), (1.5, 5.0), (0.9, 1e9), (1.6, 7.0), (2.5, 0.0)])
        assert [window.mean for window in closed] == [2.0, 6.0]
        assert state.late == 1

    def test_a_row_that_is_late_for_an_open_window_counts(self) -> None:
        _, closed = self.gathered([(0.9, 1.0), (0.2, 3.0), (1.1, 0.0)])
        assert closed == [Window(HOUR_US, 2.0, 2)]

    def test_losses_that_are_no_numbers_are_counted_and_left_out(self) -> None:
        state, closed = self.gathered([(0.2, 1.0), (0.3, np.nan), (0.4, np.inf), (0.5, 3.0), (1.5, 0.0)])
        assert closed == [Window(HOUR_US, 2.0, 2)]
        assert state.not_finite == 2

    def test_a_backtest_has_its_last_window_too_and_rows_in_any_order(self) -> None:
        times = np.array([round(hour * HOUR_US) for hour in (1.5, 0.2, 1.2, 0.3, 2.2)])
        windows = windows_of(self.hourly, times, np.array([5.0, 1.0, 7.0, 3.0, 9.0]))
        assert windows == [Window(HOUR_US, 2.0, 2), Window(2 * HOUR_US, 6.0, 2)]
        assert windows_of(self.hourly, times[:0], np.array([])) == []


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 5), sizes=st.lists(st.integers(0, 400), max_size=30), min_outcomes=st.sampled_from([1, 30, 75])
)
def test_however_the_rows_are_cut_into_batches_the_same_alarms_follow(
    seed: int, sizes: list[int], min_outcomes: int
) -> None:
    times, losses = a_world(seed)
    calendar = Calendar.of(DAY, "09:00Z", min_outcomes)
    bar = Bar.of(days(losses_around(0.1, 28, seed) + 0.03 * np.arange(28) % 0.05))

    def followed(cuts: list[int]) -> tuple[Gathering, bytes, list[Judged]]:
        gathering, state, verdicts = Gathering(), TRIGGER.start(bar), []
        for rows in np.split(np.arange(len(times)), cuts):
            gathering, closed = gather(gathering, calendar, times[rows], losses[rows])
            state, judged = TRIGGER.step(state, closed)
            verdicts += judged
        return gathering, state.to_bytes(), verdicts

    cuts = np.cumsum(sizes)
    whole = followed([])
    assert followed(cuts[cuts < len(times)].tolist()) == whole
    assert any(verdict.alarm for verdict in whole[2])


class TestBar:
    def test_it_is_the_mean_and_spread_of_the_backtests_windows(self) -> None:
        bar = Bar.of(days(np.array([0.1, 0.2, 0.3, 0.4, 0.5])))
        assert bar.mean == pytest.approx(0.3)
        assert bar.sd == pytest.approx(0.158114, abs=1e-6)

    def test_too_few_windows_are_no_bar(self) -> None:
        with pytest.raises(NotReady, match="at least 5 windows, got 4"):
            Bar.of(days(np.array([0.1, 0.2, 0.3, 0.4])))

    def test_windows_that_do_not_vary_are_no_bar(self) -> None:
        with pytest.raises(NotReady, match="nothing to scale by"):
            Bar.of(days(np.full(28, 0.1)))


class TestTrigger:
    bar = Bar.of(days(losses_around(0.16, 28, seed=0)))

    def alarms(self, means: FloatArray, state: TriggerState | None = None) -> list[int]:
        _, judged = TRIGGER.step(state or TRIGGER.start(self.bar), days(means, first=100))
        return [i for i, verdict in enumerate(judged) if verdict.alarm]

    def test_a_stream_that_stands_still_raises_few_alarms(self) -> None:
        still = [len(self.alarms(losses_around(self.bar.mean, 300, seed))) for seed in range(1, 21)]
        assert sum(still) <= 4, still

    def test_a_worse_world_is_found_within_days_and_its_onset_named(self) -> None:
        onsets = []
        for seed in range(1, 21):
            means = np.concatenate([losses_around(0.16, 20, seed), losses_around(0.24, 10, seed + 100)])
            _, judged = TRIGGER.step(TRIGGER.start(self.bar), days(means, first=100))
            first = next(i for i, verdict in enumerate(judged) if verdict.alarm)
            verdict = judged[first]
            assert 20 <= first <= 23
            assert verdict.statistic > 5
            assert verdict.before is not None
            assert verdict.after is not None
            assert verdict.after > verdict.before
            assert verdict.onset_us is not None
            onsets.append(verdict.onset_us // (24 * HOUR_US) - 100)
        assert np.median(onsets) == 20
        assert sum(abs(onset - 20) <= 2 for onset in onsets) >= 14, onsets

    def test_a_version_that_is_bad_from_its_first_window_is_found_because_it_is_held_to_the_backtest(self) -> None:
        bad = losses_around(0.24, 60, 7)
        assert self.alarms(bad)[0] <= 4
        # A detector that had only ever seen this level would take it for normal.
        assert self.alarms(bad, TRIGGER.start(Bar.of(days(bad)))) == []

    def test_a_better_world_raises_no_alarm(self) -> None:
        assert all(self.alarms(losses_around(0.05, 60, seed)) == [] for seed in range(10))

    def test_the_unit_of_the_loss_decides_nothing(self) -> None:
        means = np.concatenate([losses_around(0.16, 20, 3), losses_around(0.24, 10, 4)])
        for unit in (0.001, 1000.0):
            bar = Bar.of(days(unit * np.array(self.bar.values)))
            _, judged = TRIGGER.step(TRIGGER.start(bar), days(unit * means, first=100))
            assert [i for i, verdict in enumerate(judged) if verdict.alarm] == self.alarms(means)

    def test_a_window_is_judged_once_however_often_it_is_shown(self) -> None:
        windows = days(losses_around(0.24, 10, 5), first=100)
        state, judged = TRIGGER.step(TRIGGER.start(self.bar), windows)
        again, repeated = TRIGGER.step(state, windows)
        assert len(judged) == 10
        assert (again, repeated) == (state, [])

    def test_a_step_leaves_the_old_state_good(self) -> None:
        state = TRIGGER.start(self.bar)
        assert TRIGGER.step(state, days(losses_around(0.24, 9, 5))) == TRIGGER.step(
            state, days(losses_around(0.24, 9, 5))
        )
        assert state == TRIGGER.start(self.bar)

    def test_after_an_alarm_river_is_silent_and_rearmed_it_is_not(self) -> None:
        windows = days(losses_around(0.24, 40, 5), first=100)
        state, judged = TRIGGER.step(TRIGGER.start(self.bar), windows[:10])
        first = next(i for i, verdict in enumerate(judged) if verdict.alarm)
        assert [verdict.alarm for verdict in judged].count(True) == 1
        state, _ = TRIGGER.step(TRIGGER.start(self.bar), windows[: first + 1])
        _, silent = TRIGGER.step(state, windows[first + 1 : first + 19])
        _, rearmed = TRIGGER.step(TRIGGER.rearmed(state), windows[: first + 6])
        assert not any(verdict.alarm for verdict in silent)
        assert [verdict.window for verdict in rearmed] == windows[first + 1 : first + 6]
        assert any(verdict.alarm for verdict in rearmed)

    def test_a_state_survives_as_bytes(self) -> None:
        state, _ = TRIGGER.step(TRIGGER.start(self.bar), days(losses_around(0.17, 100, 5)))
        assert TriggerState.from_bytes(SPEC, state.to_bytes()) == state

    @pytest.mark.parametrize(
        "damage",
        [
            lambda blob: blob[:-1],
            lambda blob: b"",
            lambda blob: blob[:60] + bytes([blob[60] ^ 1]) + blob[61:],
            lambda blob: TRIGGER.start(TestTrigger.bar).detector.blob,
        ],
    )
    def test_damaged_bytes_are_no_state(self, damage: Callable[[bytes], bytes]) -> None:
        with pytest.raises(SnapshotRejected):
            TriggerState.from_bytes(SPEC, damage(TRIGGER.start(self.bar).to_bytes()))

    def test_a_state_of_another_threshold_is_rejected(self) -> None:
        other = catalogue.spec("page_hinkley", threshold=6)
        with pytest.raises(SnapshotRejected, match="another spec"):
            TriggerState.from_bytes(other, TRIGGER.start(self.bar).to_bytes())

    def test_a_trigger_watches_a_loss(self) -> None:
        with pytest.raises(DetectorRefused, match="worse when it is greater"):
            WindowTrigger(catalogue.spec("page_hinkley", orientation=-1))
