"""How the last hours went, from outcomes that had arrived: the only past that a prediction may know."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from flights.times import HOUR, Minutes

Floats = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

# One flight a day late must not speak for the whole airport, nor one that left early.
DELAY_BOUNDS: Final = (-30.0, 180.0)


@dataclass(frozen=True)
class Window:
    """Per asked row: how many outcomes arrived in it, how many of them late, and their clipped delays in sum."""

    count: Floats
    late: Floats
    delay: Floats

    @property
    def late_share(self) -> Floats:
        """NaN where nothing arrived."""
        return _ratio(self.late, self.count)

    @property
    def mean_delay(self) -> Floats:
        """Minutes, NaN where nothing arrived."""
        return _ratio(self.delay, self.count)


@dataclass(frozen=True)
class Arrivals:
    """Outcomes with their group, sorted by group and arrival, with running sums."""

    keys: Minutes
    late: Floats
    delay: Floats

    @classmethod
    def of(cls, group: Groups, arrived_at: Minutes, delay: Floats, late: npt.NDArray[np.bool_]) -> "Arrivals":
        """delay in minutes as it was; it is clipped here."""
        keys = _keys(group, arrived_at)
        order = np.argsort(keys, kind="stable")
        clipped = np.clip(delay, *DELAY_BOUNDS)
        return cls(keys[order], _running(late[order].astype(np.float64)), _running(clipped[order]))

    def window(self, group: Groups, until: Minutes, minutes: int) -> Window:
        """What arrived in (until - minutes, until] in each row's own group."""
        first = np.searchsorted(self.keys, _keys(group, until - minutes), side="right")
        last = np.searchsorted(self.keys, _keys(group, until), side="right")
        return Window(
            count=(last - first).astype(np.float64),
            late=self.late[last] - self.late[first],
            delay=self.delay[last] - self.delay[first],
        )


def rolling(
    asked_at: Minutes,
    arrived_at: Minutes,
    delay: Floats,
    late: npt.NDArray[np.bool_],
    groups: dict[str, Groups],
) -> dict[str, Floats]:
    """The rolling features of all rows. A row without an outcome has NaN in `delay` and feeds no window.

    groups: integer codes of `origin`, `carrier_origin` and `dest` for every row.
    """
    known = np.isfinite(delay)
    of = {
        name: Arrivals.of(codes[known], arrived_at[known], delay[known], late[known]) for name, codes in groups.items()
    }
    origin_3h = of["origin"].window(groups["origin"], asked_at, 3 * HOUR)
    carrier_6h = of["carrier_origin"].window(groups["carrier_origin"], asked_at, 6 * HOUR)
    day = {name: of[name].window(groups[name], asked_at, 24 * HOUR) for name in groups}
    return {
        "origin_late_3h": origin_3h.late_share,
        "origin_delay_3h": origin_3h.mean_delay,
        "origin_count_3h": origin_3h.count,
        "carrier_origin_late_6h": carrier_6h.late_share,
        "carrier_origin_delay_6h": carrier_6h.mean_delay,
        "carrier_origin_count_6h": carrier_6h.count,
        "origin_late_24h": day["origin"].late_share,
        "carrier_origin_late_24h": day["carrier_origin"].late_share,
        "dest_late_24h": day["dest"].late_share,
    }


def _keys(group: Groups, at: Minutes) -> Minutes:
    """One integer that sorts by group, then by time: minutes since 1970 stay far below 2**32."""
    return (group << 32) + at


def _running(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _ratio(part: Floats, whole: Floats) -> Floats:
    share: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share
