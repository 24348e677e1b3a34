"""The year as it would have been seen: who was asked what and when, when it came true, what was published meanwhile."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flights.rolling import rolling
from flights.source import Source, read_source
from flights.times import DAY, Minutes, local_midnights, scheduled_arrivals, scheduled_departures
from flights.weather import Weather, observations

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[Any]

ASKED_BEFORE_DEPARTURE: Final = 120
LATE_AFTER: Final = 15
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class World:
    """All flights in order of the time at which they are asked about (then entity), all times in UTC minutes.

    features: the caller's columns, category columns as text, numbers with NaN for null. outcome_at and delay hold where
    `labelled`; nothing ever comes for the others.
    """

    entity: Texts
    tailnum: Texts
    asked_at: Minutes
    outcome_at: Minutes
    delay: Floats
    features: dict[str, npt.NDArray[Any]]
    weather: Weather
    planes: dict[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.asked_at)

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Whether an outcome ever comes."""
        return np.isfinite(self.delay)

    @cached_property
    def late(self) -> npt.NDArray[np.bool_]:
        """The outcome: more than 15 minutes. False where there is none."""
        return self.delay > LATE_AFTER

    @cached_property
    def all_features(self) -> dict[str, npt.NDArray[Any]]:
        """The caller's features and those of the views, as they were known when asked."""
        at = np.array([self._plane_row.get(tail, -1) for tail in self.tailnum])
        plane = {
            name: np.where(at >= 0, self.planes[field][at], np.nan)
            for name, field in (("plane_year", "year"), ("plane_seats", "seats"))
        }
        return {**self.features, **self.weather.known_at(self.features["origin"], self.asked_at), **plane}

    @cached_property
    def _plane_row(self) -> dict[Any, int]:
        return {tail: row for row, tail in enumerate(self.planes["tailnum"])}


@lru_cache(maxsize=1)
def load() -> World:
    """The world, read from the installed package in about two seconds and kept for the life of the process."""
    return world_of(read_source())


def world_of(source: Source) -> World:
    """The world in these tables."""
    flights = source.flights
    departs_at = scheduled_departures(flights)
    delay: Floats = flights["arr_delay"].cast(pa.float64()).to_numpy()
    arrives_at = scheduled_arrivals(flights, source.airports, departs_at)
    outcome_at = arrives_at + np.nan_to_num(delay).astype(np.int64)
    asked_at = departs_at - ASKED_BEFORE_DEPARTURE
    entity = entities(flights)
    order = np.lexsort((entity, asked_at))
    return World(
        entity=entity[order],
        tailnum=np.array(flights["tailnum"].to_pylist(), dtype=object)[order],
        asked_at=asked_at[order],
        outcome_at=outcome_at[order],
        delay=delay[order],
        features={
            name: column[order] for name, column in (_schedule(flights) | _rolling(flights, asked_at, outcome_at, delay)).items()
        },
        weather=observations(source.weather),
        planes={
            "tailnum": np.array(source.planes["tailnum"].to_pylist(), dtype=object),
            "year": source.planes["year"].to_numpy(),
            "seats": source.planes["seats"].to_numpy(),
        },
    )


def entities(flights: pa.Table) -> Texts:
    """date/carrier/flight/origin: unique in the table, and known before departure."""
    date = pc.cast(pa.array(local_midnights(flights) // DAY, pa.int32()).cast(pa.date32()), pa.string())
    parts = [date, flights["carrier"].combine_chunks(), flights["flight"].cast(pa.string()).combine_chunks()]
    joined = pc.binary_join_element_wise(*parts, flights["origin"].combine_chunks(), "/")
    return np.array(joined.to_pylist())


def _schedule(flights: pa.Table) -> dict[str, npt.NDArray[Any]]:
    # 1 January 1970 was a Thursday.
    weekday = (local_midnights(flights) // DAY + 3) % 7
    return {
        "carrier": np.array(flights["carrier"].to_pylist()),
        "origin": np.array(flights["origin"].to_pylist()),
        "dest": np.array(flights["dest"].to_pylist()),
        "day_of_week": np.array(WEEKDAYS)[weekday],
        "minute_of_day": flights["hour"].to_numpy() * 60.0 + flights["minute"].to_numpy(),
        "distance": flights["distance"].to_numpy(),
    }


def _rolling(flights: pa.Table, asked_at: Minutes, outcome_at: Minutes, delay: Floats) -> dict[str, Floats]:
    carrier, origin, dest = (_codes(flights[name]) for name in ("carrier", "origin", "dest"))
    groups = {"origin": origin, "carrier_origin": carrier * (origin.max() + 1) + origin, "dest": dest}
    return rolling(asked_at, outcome_at, delay, delay > LATE_AFTER, groups)


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    codes: Any = pc.dictionary_encode(column.combine_chunks())
    indices: npt.NDArray[np.int64] = codes.indices.to_numpy().astype(np.int64)
    return indices
