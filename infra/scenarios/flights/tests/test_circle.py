"""The circle closes on real flights, in event time, one day of tolerance on dates. Chosen after looking at the data."""

from datetime import UTC, datetime

import pytest

from flights.offline import Circle, Seen, watch, when
from flights.story import CHAMPION_UNTIL
from flights.times import minutes_at

pytestmark = pytest.mark.world


def june(day: int) -> datetime:
    return datetime(2013, 6, day, tzinfo=UTC)


def test_the_champion_knows_49956_flights_of_winter_and_28_days_as_its_bar(year: Seen, linear: Circle) -> None:
    assert len(year.arrived_by(minutes_at(CHAMPION_UNTIL))) == 49_956
    assert len(linear.champion.bar) == 28


class TestLinear:
    def test_it_alarms_once_around_19_june(self, linear: Circle) -> None:
        assert june(18) <= when(linear.alarms[0]) < june(21)
        assert len(linear.alarms) == 1

    def test_it_is_retrained_two_days_later_on_enough_of_the_new_world(self, linear: Circle) -> None:
        assert june(20) <= when(linear.retrained_at) < june(23)

    def test_the_gate_passes_at_its_first_look(self, linear: Circle) -> None:
        first = linear.looks[0]
        assert first.passes
        assert first.gain > 0.20
        assert first.lower > 0.05
        assert linear.promoted_at == first.at

    def test_the_28_days_after_are_better_by_far(self, linear: Circle) -> None:
        month = linear.month
        assert month.champion_loss - month.new_loss > 0.15
        assert month.new_auc - month.champion_auc > 0.04

    def test_the_stale_champion_is_worse_than_yesterdays_rate_and_the_new_version_better(self, linear: Circle) -> None:
        assert linear.month.champion_loss > linear.month.floor_loss > linear.month.new_loss

    def test_the_new_version_does_not_alarm_before_august(self, linear: Circle) -> None:
        assert linear.alarms_after == []


class TestBoosted:
    def test_it_alarms_a_week_later_than_the_linear_model(self, boosted: Circle) -> None:
        assert june(26) <= when(boosted.alarms[0]) < june(30)

    def test_the_gate_holds_it_at_seven_days_and_passes_it_at_fourteen(self, boosted: Circle) -> None:
        first, second = boosted.looks
        assert not first.passes
        assert second.passes
        assert second.gain > 0.06
        assert boosted.promoted_at == second.at

    def test_the_28_days_after_are_better(self, boosted: Circle) -> None:
        assert boosted.month.champion_loss - boosted.month.new_loss > 0.05

    def test_spring_is_quiet(self, year: Seen, boosted: Circle) -> None:
        until = datetime(2013, 4, 21, 9, tzinfo=UTC)
        assert watch(year, boosted.champion, minutes_at(CHAMPION_UNTIL), minutes_at(until)) == []
