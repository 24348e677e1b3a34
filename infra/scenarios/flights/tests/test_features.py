"""Every feature is what could be known two hours before departure: recomputed row by row, from nothing but the tables."""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from flights.features import FEATURES
from flights.source import Source
from flights.times import minutes_at
from flights.world import World

pytestmark = pytest.mark.world

ROWS = 300


def test_the_features_are_the_declared_ones(world: World) -> None:
    assert set(world.all_features) == set(FEATURES)
    assert len(FEATURES) == 26


def test_no_feature_tells_the_date(world: World) -> None:
    """A model that knew the season would not drift, and would not know the next one either."""
    assert not [name for name in FEATURES if "month" in name or "date" in name]
    days = world.asked_at // 1440
    for name, column in world.all_features.items():
        if FEATURES[name] == "number":
            known = np.isfinite(column)
            assert abs(np.corrcoef(column[known], days[known])[0, 1]) < 0.5, name


@pytest.fixture(scope="module")
def by_hand(source: Source) -> "ByHand":
    return ByHand(source)


def test_300_random_rows_recomputed_by_brute_force_have_no_mismatch(world: World, by_hand: "ByHand") -> None:
    mismatches = []
    for at in np.random.default_rng(2013).choice(len(world), ROWS, replace=False).tolist():
        expected = by_hand.features(str(world.entity[at]))
        found = {name: column[at] for name, column in world.all_features.items()}
        mismatches += [(world.entity[at], name) for name in FEATURES if not same(found[name], expected[name])]
    assert mismatches == []


def test_the_brute_force_sees_a_single_minute_of_difference(world: World, by_hand: "ByHand") -> None:
    """The comparison above must be able to fail: asked a minute later, some rows know more."""
    rows = np.random.default_rng(2013).choice(len(world), ROWS, replace=False).tolist()[:50]
    later = [by_hand.features(str(world.entity[at]), later=timedelta(minutes=1)) for at in rows]
    differ = [
        name
        for at, row in zip(rows, later, strict=True)
        for name in FEATURES
        if not same(world.all_features[name][at], row[name])
    ]
    assert len(differ) > 5


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, str):
        return bool(found == expected)
    return (math.isnan(found) and math.isnan(expected)) or math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


class ByHand:
    """The definitions of the features, one loop each; shares nothing with the package but the reading of the files."""

    def __init__(self, source: Source) -> None:
        self.flights = source.flights.to_pylist()
        self.zones = {row["faa"]: row["tzone"] for row in source.airports.to_pylist()}
        self.planes = {row["tailnum"]: row for row in source.planes.to_pylist()}
        self.weather: dict[tuple[str, date], list[dict[str, Any]]] = {}
        for row in source.weather.to_pylist():
            self.weather.setdefault((row["origin"], row["time_hour"].date()), []).append(row)

    @cached_property
    def of_day(self) -> dict[tuple[int, int], list[dict[str, Any]]]:
        days: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for flight in self.flights:
            days.setdefault((flight["month"], flight["day"]), []).append(flight)
        return days

    def features(self, entity: str, later: timedelta = timedelta(0)) -> dict[str, Any]:
        day_of_flight, carrier, number, origin = entity.split("/")
        _, month, day = (int(part) for part in day_of_flight.split("-"))
        (flight,) = (
            one
            for one in self.of_day[month, day]
            if (one["carrier"], str(one["flight"]), one["origin"]) == (carrier, number, origin)
        )
        asked_at = self.departs(flight) - timedelta(hours=2) + later
        plane = self.planes.get(flight["tailnum"], {})
        return {
            "carrier": carrier,
            "origin": origin,
            "dest": flight["dest"],
            "day_of_week": datetime(2013, month, day, tzinfo=UTC).strftime("%a"),
            "minute_of_day": flight["sched_dep_time"] // 100 * 60 + flight["sched_dep_time"] % 100,
            "distance": flight["distance"],
            **self.rolling(flight, asked_at),
            **self.observed(origin, asked_at),
            "plane_year": number_or_nan(plane.get("year")),
            "plane_seats": number_or_nan(plane.get("seats")),
        }

    def rolling(self, flight: dict[str, Any], asked_at: datetime) -> dict[str, float]:
        arrived = list(self.arrived_in_last_day(flight, asked_at))
        of = {
            "origin": [(age, delay) for age, delay, other in arrived if other["origin"] == flight["origin"]],
            "carrier_origin": [
                (age, delay)
                for age, delay, other in arrived
                if (other["carrier"], other["origin"]) == (flight["carrier"], flight["origin"])
            ],
            "dest": [(age, delay) for age, delay, other in arrived if other["dest"] == flight["dest"]],
        }
        found: dict[str, float] = {}
        for name, hours in (("origin", 3), ("carrier_origin", 6)):
            delays = [delay for age, delay in of[name] if age < timedelta(hours=hours)]
            found[f"{name}_late_{hours}h"] = mean([delay > 15 for delay in delays])
            found[f"{name}_delay_{hours}h"] = mean([min(max(delay, -30), 180) for delay in delays])
            found[f"{name}_count_{hours}h"] = len(delays)
        return found | {f"{name}_late_24h": mean([delay > 15 for _, delay in rows]) for name, rows in of.items()}

    def arrived_in_last_day(
        self, flight: dict[str, Any], asked_at: datetime
    ) -> Iterator[tuple[timedelta, int, dict[str, Any]]]:
        today = datetime(2013, flight["month"], flight["day"], tzinfo=UTC)
        for days in (-2, -1, 0):
            other_day = today + timedelta(days=days)
            for other in self.of_day.get((other_day.month, other_day.day), []) if other_day.year == 2013 else []:
                arrives = self.arrives(other)
                if arrives is not None and timedelta(0) <= (age := asked_at - arrives) < timedelta(hours=24):
                    yield age, other["arr_delay"], other

    def departs(self, flight: dict[str, Any]) -> datetime:
        hour, minute = divmod(flight["sched_dep_time"], 100)
        local = datetime(2013, flight["month"], flight["day"], hour, minute, tzinfo=ZoneInfo("America/New_York"))
        return local.astimezone(UTC)

    def arrives(self, flight: dict[str, Any]) -> datetime | None:
        if flight["arr_delay"] is None:
            return None
        if "arrives" not in flight:
            zone = ZoneInfo(self.zones.get(flight["dest"]) or "America/Puerto_Rico")
            hour, minute = divmod(flight["sched_arr_time"], 100)
            scheduled = datetime(2013, flight["month"], flight["day"], tzinfo=zone) + timedelta(
                hours=hour, minutes=minute
            )
            while scheduled.astimezone(UTC) <= self.departs(flight):
                scheduled += timedelta(days=1)
            flight["arrives"] = scheduled.astimezone(UTC) + timedelta(minutes=flight["arr_delay"])
        arrives: datetime = flight["arrives"]
        return arrives

    def observed(self, origin: str, asked_at: datetime) -> dict[str, float]:
        days = (asked_at.date() - timedelta(days=1), asked_at.date())
        rows = [row for day in days for row in self.weather.get((origin, day), [])]
        known = [row for row in rows if row["time_hour"] + timedelta(hours=1) <= asked_at]
        newest = max(known, key=lambda row: row["time_hour"], default=None)
        if newest is None or asked_at - newest["time_hour"] - timedelta(hours=1) > timedelta(hours=4):
            return dict.fromkeys(
                ("temp", "dewp", "humid", "wind", "gust", "precip", "precip_6h", "pressure", "visib"), math.nan
            )
        rain = [row["precip"] for row in known if newest["time_hour"] - row["time_hour"] < timedelta(hours=6)]
        return {
            "wind": number_or_nan(newest["wind_speed"]),
            "gust": number_or_nan(newest["wind_gust"]),
            "precip_6h": sum(rain),
            **{name: number_or_nan(newest[name]) for name in ("temp", "dewp", "humid", "precip", "pressure", "visib")},
        }


def mean(values: list[Any]) -> float:
    return sum(values) / len(values) if values else math.nan


def number_or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def test_the_brute_force_knows_the_clock_of_new_york(by_hand: ByHand) -> None:
    assert minutes_at(by_hand.departs({"sched_dep_time": 515, "month": 1, "day": 1})) == minutes_at(
        datetime(2013, 1, 1, 10, 15, tzinfo=UTC)
    )
