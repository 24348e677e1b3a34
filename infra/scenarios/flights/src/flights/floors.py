"""What needs no model: a version that is not better than these is worth nothing, however it compares with another."""

from typing import Final

import numpy as np
import numpy.typing as npt

from flights.rolling import Arrivals
from flights.times import DAY
from flights.world import World

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

# So many flights of average luck stand behind every cell of the table, or an empty one would say nothing.
PRIOR_FLIGHTS: Final = 5


def base_rate(world: World, learnt: Rows, asked: Rows) -> Floats:
    """The late share of the learnt rows, the same for every asked row."""
    return np.full(len(asked), world.late[learnt].mean())


def last_24h_rate(world: World, learnt: Rows, asked: Rows) -> Floats:
    """The late share of whatever arrived in the 24 hours before each asked row; the base rate where nothing did."""
    known = np.flatnonzero(world.labelled)
    one = np.zeros(len(world), dtype=np.int64)
    arrivals = Arrivals.of(one[known], world.outcome_at[known], world.delay[known], world.late[known])
    share = arrivals.window(one[asked], world.asked_at[asked], DAY).late_share
    return np.where(np.isnan(share), base_rate(world, learnt, asked), share)


def origin_hour_table(world: World, learnt: Rows, asked: Rows) -> Floats:
    """The late share of the learnt rows by origin and local hour of departure."""
    cell = _cells(world)
    flights = np.bincount(cell[learnt], minlength=cell.max() + 1)
    late = np.bincount(cell[learnt], world.late[learnt], minlength=cell.max() + 1)
    base = world.late[learnt].mean()
    share: Floats = (late + PRIOR_FLIGHTS * base) / (flights + PRIOR_FLIGHTS)
    return share[cell[asked]]


FLOORS: Final = {"last_24h_rate": last_24h_rate, "base_rate": base_rate, "origin_hour_table": origin_hour_table}


def _cells(world: World) -> Rows:
    _, origin = np.unique(world.features["origin"], return_inverse=True)
    hour = (world.features["minute_of_day"] // 60).astype(np.int64)
    cells: Rows = origin * 24 + hour
    return cells
