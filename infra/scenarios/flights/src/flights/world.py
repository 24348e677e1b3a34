"""The year as it would have been seen: who was asked what and when, when it came true, what was published meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flights.planes import Planes, planes_of
from flights.rolling import rolling
from flights.source import Source, read_source
from flights.stream import Slice, history, replay
from flights.times import DAY, Minutes, local_midnights, minutes_at, scheduled_arrivals, scheduled_departures
from flights.weather import Weather, observations

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[Any]

ASKED_BEFORE_DEPARTURE: Final = 120
LATE_AFTER: Final = 15
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class World:
    """All flights in order of the time at which they are asked about (then entity), all times in UTC minutes.

    features: the caller's columns, categories as text, numbers with NaN for null. outcome_at, delay and late hold
    where `labelled`; nothing ever comes for the others.
    """

    entity: Texts
    tailnum: Texts
    asked_at: Minutes
    outcome_at: Minutes
    delay: Floats
    late: npt.NDArray[np.bool_]
    features: dict[str, npt.NDArray[Any]]
    weather: Weather
    planes: Planes

    def __len__(self) -> int:
        return len(self.asked_at)

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Whether an outcome ever comes."""
        return np.isfinite(self.delay)

    @cached_property
    def all_features(self) -> dict[str, npt.NDArray[Any]]:
        """The caller's features and those of the views, as they were known when asked."""
        weather = self.weather.known_at(self.features["origin"], self.asked_at)
        return {**self.features, **weather, **self.planes.of(self.tailnum)}

    def history(self, until: datetime) -> Slice:
        """All predictions asked before `until` with their outcomes, the weather published by then, and all planes."""
        return history(self, minutes_at(until))

    def replay(self, since: datetime, until: datetime) -> Iterator[Slice]:
        """Hour by hour: the predictions asked in [since, until), their outcomes, and the weather published after since.

        Goes on past `until`, without predictions, to the hour of the last outcome.
        """
        return replay(self, minutes_at(since), minutes_at(until))


@lru_cache(maxsize=1)
def load() -> World:
    """The world, read from the installed package in some two seconds and kept for the life of the process."""
    return world_of(read_source())


def world_of(source: Source) -> World:
    """The world in these tables."""
    flights = source.flights
    departs_at = scheduled_departures(flights)
    delay: Floats = flights["arr_delay"].cast(pa.float64()).to_numpy()
    outcome_at = scheduled_arrivals(flights, source.airports, departs_at) + np.nan_to_num(delay).astype(np.int64)
    asked_at = departs_at - ASKED_BEFORE_DEPARTURE
    entity = entities(flights)
    order = np.lexsort((entity, asked_at))
    features = {**_schedule(flights), **_rolling(flights, asked_at, outcome_at, delay)}
    return World(
        entity=entity[order],
        tailnum=np.array(flights["tailnum"].to_pylist(), dtype=object)[order],
        asked_at=asked_at[order],
        outcome_at=outcome_at[order],
        delay=delay[order],
        late=delay[order] > LATE_AFTER,
        features={name: column[order] for name, column in features.items()},
        weather=observations(source.weather),
        planes=planes_of(source.planes),
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
