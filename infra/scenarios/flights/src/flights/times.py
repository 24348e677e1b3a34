"""When things happened, in UTC minutes since 1970: the tables mix UTC with two kinds of local time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Minutes = npt.NDArray[np.int64]

HOUR: Final = 60
DAY: Final = 24 * HOUR

# The table of airports lacks these four; all keep Atlantic time without summer time.
PUERTO_RICO_TIME: Final = "America/Puerto_Rico"


def minutes_at(moment: datetime) -> int:
    """A moment with its zone as minutes since 1970."""
    return int(moment.astimezone(UTC).timestamp()) // 60


def scheduled_departures(flights: pa.Table) -> Minutes:
    """`time_hour` is true UTC, cut to the hour; the minute is the same in every American zone of these airports."""
    seconds: Minutes = flights["time_hour"].cast(pa.int64()).to_numpy()
    minutes: Minutes = seconds // 60 + flights["minute"].to_numpy()
    return minutes


def local_midnights(flights: pa.Table) -> Minutes:
    """Local midnight of the day of departure, as if the local clock were UTC: for calendars, not for durations."""
    year, month, day = (flights[part].to_numpy().astype(np.int64) for part in ("year", "month", "day"))
    months = (year - 1970) * 12 + month - 1
    days: Minutes = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    return days * DAY


def scheduled_arrivals(flights: pa.Table, airports: pa.Table, departures: Minutes) -> Minutes:
    """`sched_arr_time` is on the clock of the destination, on the day of departure or the next.

    Of the days it could mean, the one that makes the flight last between 0 and 24 hours.
    """
    on_the_day = local_midnights(flights) + _clock(flights["sched_arr_time"].to_numpy().astype(np.int64))
    zones = _zones(flights["dest"], airports)
    arrivals = on_the_day - zones.offsets(on_the_day)
    local = on_the_day - (arrivals - departures) // DAY * DAY
    # Asked again on the day found: on two days of the year the clock of the next day is another one.
    return local - zones.offsets(local)


def _clock(hhmm: Minutes) -> Minutes:
    """517 is 05:17; 2400 is the end of the day."""
    return hhmm // 100 * 60 + hhmm % 100


@dataclass(frozen=True)
class _Zones:
    """The time zone of each flight's destination, as a place among the names."""

    names: tuple[str, ...]
    each: npt.NDArray[np.int64]

    def offsets(self, local: Minutes) -> Minutes:
        """Minutes to take from the local clocks to have UTC, looked up once per zone and hour."""
        hours_a_zone = 1 << 32
        wanted, at = np.unique(self.each * hours_a_zone + local // 60, return_inverse=True)
        known = [_offset(self.names[key // hours_a_zone], key % hours_a_zone) for key in wanted.tolist()]
        return np.array(known, dtype=np.int64)[at]


def _zones(dest: pa.ChunkedArray, airports: pa.Table) -> _Zones:
    zone_of = dict(zip(airports["faa"].to_pylist(), airports["tzone"].to_pylist(), strict=True))
    codes: Any = pc.dictionary_encode(dest.combine_chunks())
    zones = [zone_of.get(airport) or PUERTO_RICO_TIME for airport in codes.dictionary.to_pylist()]
    names = tuple(sorted(set(zones)))
    places = np.array([names.index(zone) for zone in zones], dtype=np.int64)
    return _Zones(names, places[codes.indices.to_numpy()])


def _offset(zone: str, local_hour: int) -> int:
    local = datetime(1970, 1, 1, tzinfo=ZoneInfo(zone)) + timedelta(hours=local_hour)
    offset = local.utcoffset()
    assert offset is not None  # a ZoneInfo always has one
    return int(offset.total_seconds()) // 60
