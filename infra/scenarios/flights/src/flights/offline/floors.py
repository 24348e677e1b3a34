"""What needs no model: a version that is not better than these is worth nothing, however it compares with another."""

from typing import Final

import numpy as np
import numpy.typing as npt

from flights.offline.seen import Seen
from flights.rolling import Arrivals
from flights.times import DAY

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

# So many flights of average luck stand behind every cell of the table, or an empty one would say nothing.
PRIOR_FLIGHTS: Final = 5


def base_rate(year: Seen, learnt: Rows, asked: Rows) -> Floats:
    """The late share of the learnt rows, the same for every asked row."""
    return np.full(len(asked), year.late[learnt].mean())


def last_24h_rate(year: Seen, learnt: Rows, asked: Rows) -> Floats:
    """The late share of whatever arrived in the 24 hours before each asked row; the base rate where nothing did."""
    known = np.flatnonzero(year.labelled)
    all_one = np.zeros(len(year.asked_at), dtype=np.int64)
    no_delay = np.zeros(len(known))
    arrivals = Arrivals.of(all_one[known], year.outcome_at[known], no_delay, year.late[known])
    share = arrivals.window(all_one[asked], year.asked_at[asked], DAY).late_share
    return np.where(np.isnan(share), base_rate(year, learnt, asked), share)


def origin_hour_table(year: Seen, learnt: Rows, asked: Rows) -> Floats:
    """The late share of the learnt rows by origin and local hour of departure."""
    cell = _cells(year)
    flights = np.bincount(cell[learnt], minlength=cell.max() + 1)
    late = np.bincount(cell[learnt], year.late[learnt], minlength=cell.max() + 1)
    base = year.late[learnt].mean()
    share: Floats = (late + PRIOR_FLIGHTS * base) / (flights + PRIOR_FLIGHTS)
    return share[cell[asked]]


FLOORS: Final = {"last_24h_rate": last_24h_rate, "base_rate": base_rate, "origin_hour_table": origin_hour_table}


def _cells(year: Seen) -> Rows:
    _, origin = np.unique(year.features["origin"], return_inverse=True)
    hour = (year.features["minute_of_day"] // 60).astype(np.int64)
    cells: Rows = origin * 24 + hour
    return cells
