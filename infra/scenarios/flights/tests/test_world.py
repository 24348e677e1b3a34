"""The data is what the scenario says it is, and the clocks are read rightly."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flights.source import Source
from flights.times import minutes_at, scheduled_arrivals, scheduled_departures
from flights.world import World

pytestmark = pytest.mark.world


def test_336776_flights_of_which_9430_never_get_an_outcome(world: World) -> None:
    assert len(world) == 336_776
    assert int((~world.labelled).sum()) == 9_430


def test_a_flight_is_named_once_by_date_carrier_number_and_origin(world: World) -> None:
    assert len(np.unique(world.entity)) == len(world)
    assert "2013-06-15/AA/1/JFK" in world.entity


def test_flights_are_in_order_of_the_time_they_are_asked_about(world: World) -> None:
    assert (np.diff(world.asked_at) >= 0).all()


def test_arrivals_reconstructed_through_five_time_zones_leave_5_to_235_minutes_on_the_ground(source: Source) -> None:
    """Wherever a zone or a change of clocks were read wrongly, the time not in the air would be hours off."""
    flights = source.flights
    departs_at = scheduled_departures(flights)
    arrives_at = scheduled_arrivals(flights, source.airports, departs_at)
    flown = flights["arr_delay"].is_valid().to_numpy()
    arrival_delay, departure_delay, air_time = (
        flights[name].cast(pa.float64()).to_numpy()[flown] for name in ("arr_delay", "dep_delay", "air_time")
    )
    on_the_ground = arrives_at[flown] + arrival_delay - departs_at[flown] - departure_delay - air_time
    assert len(on_the_ground) == 327_346
    assert (on_the_ground.min(), on_the_ground.max()) == (5, 235)


def test_half_of_the_outcomes_come_within_five_hours(world: World) -> None:
    hours = (world.outcome_at - world.asked_at)[world.labelled] / 60
    assert np.percentile(hours, [50, 99]) == pytest.approx([4.8, 9.7], abs=0.05)


def test_the_world_moves_with_the_seasons(world: World) -> None:
    months = np.array([int(entity[5:7]) for entity in world.entity])
    rates = [world.late[world.labelled & (months == month)].mean() for month in range(1, 13)]
    said = [0.227, 0.230, 0.228, 0.279, 0.220, 0.308, 0.315, 0.238, 0.132, 0.168, 0.174, 0.326]
    assert rates == pytest.approx(said, abs=0.0006)


def test_weather_ends_a_day_before_the_flights_do_and_holds_one_absurd_wind(world: World) -> None:
    weather = world.weather
    assert len(weather.published_at) == 26_115
    assert weather.published_at.max() == minutes_at(datetime(2013, 12, 31, 0, tzinfo=UTC))
    assert int((weather.values["wind"] > 200).sum()) == 1


def test_known_weather_is_never_from_after_the_question_and_never_older_than_four_hours(world: World) -> None:
    after_the_last = np.array([minutes_at(datetime(2013, 12, 31, hour, tzinfo=UTC)) for hour in (3, 4, 5)])
    temp = world.weather.known_at(np.array(["JFK"] * 3), after_the_last)["temp"]
    assert np.isfinite(temp).tolist() == [True, True, False]


def test_one_flight_in_six_has_an_unknown_plane(world: World) -> None:
    assert np.isnan(world.all_features["plane_seats"]).mean() == pytest.approx(0.156, abs=0.001)


def test_tail_numbers_lack_only_where_a_flight_was_cancelled(source: Source) -> None:
    without = source.flights.filter(pc.is_null(source.flights["tailnum"]))
    assert without["dep_time"].null_count == len(without) == 2_512
