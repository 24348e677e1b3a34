"""Hourly weather as observations on their own clock, and the weather that was known at a time."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flights.times import Minutes

Floats = npt.NDArray[np.float64]

# A row describes the hour that begins at its time; nobody knows it before that hour is over.
PUBLISHED_AFTER: Final = 60
STALE_AFTER: Final = 4 * 60
PRECIP_WINDOW: Final = 6 * 60

_COLUMNS: Final = {
    "temp": "temp",
    "dewp": "dewp",
    "humid": "humid",
    "wind": "wind_speed",
    "gust": "wind_gust",
    "precip": "precip",
    "pressure": "pressure",
    "visib": "visib",
}


@dataclass(frozen=True)
class Weather:
    """Observations sorted by time of publication, then airport. values: NaN where the station said nothing."""

    origin: npt.NDArray[np.str_]
    published_at: Minutes
    values: dict[str, Floats]

    def known_at(self, origin: npt.NDArray[np.str_], at: Minutes) -> dict[str, Floats]:
        """Per asked row the newest observation of its airport, NaN where that is older than STALE_AFTER."""
        found = np.full(len(at), -1, dtype=np.int64)
        for station in np.unique(self.origin):
            here = np.flatnonzero(self.origin == station)
            asked = np.flatnonzero(origin == station)
            newest = np.searchsorted(self.published_at[here], at[asked], side="right") - 1
            found[asked] = np.where(newest >= 0, here[newest], -1)
        fresh = (found >= 0) & (at - self.published_at[found] <= STALE_AFTER)
        return {name: np.where(fresh, values[found], np.nan) for name, values in self.values.items()}


def observations(weather: pa.Table) -> Weather:
    """Every row of the table as one observation."""
    measured_at: Minutes = weather["time_hour"].cast(pa.int64()).to_numpy() // 60
    origin = np.array(weather["origin"].to_pylist())
    values: dict[str, Floats] = {name: weather[column].to_numpy() for name, column in _COLUMNS.items()}
    values["precip_6h"] = _precip_6h(origin, measured_at, values["precip"])
    order = np.lexsort((origin, measured_at))
    return Weather(
        origin=origin[order],
        published_at=measured_at[order] + PUBLISHED_AFTER,
        values={name: column[order] for name, column in values.items()},
    )


def _precip_6h(origin: npt.NDArray[np.str_], measured_at: Minutes, precip: Floats) -> Floats:
    """Rain of the last six hours, this one included, as far as there are rows."""
    total = np.zeros(len(precip))
    for station in np.unique(origin):
        here = np.flatnonzero(origin == station)
        here = here[np.argsort(measured_at[here], kind="stable")]
        times, running = measured_at[here], np.concatenate([[0.0], np.cumsum(np.nan_to_num(precip[here]))])
        last = np.searchsorted(times, times, side="right")
        first = np.searchsorted(times, times - PRECIP_WINDOW, side="right")
        # Rounded to the gauge's hundredths: a difference of running sums leaves dust where no rain fell.
        total[here] = np.round(running[last] - running[first], 2)
    return total
