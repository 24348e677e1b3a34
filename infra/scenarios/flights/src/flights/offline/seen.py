"""The year as arrays of one length: what was asked, with which features, and when what came true."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flights.times import DAY, HOUR, Minutes
from flights.world import ASKED_BEFORE_DEPARTURE, World

Rows = npt.NDArray[np.int64]

# The small hours of New York: a day of flights is cut where nothing flies.
DAY_BEGINS: Final = 5 * HOUR


@dataclass(frozen=True)
class Seen:
    """All predictions in order of `asked_at`. outcome_at and late hold where `labelled`."""

    entity: npt.NDArray[Any]
    asked_at: Minutes
    outcome_at: Minutes
    labelled: npt.NDArray[np.bool_]
    late: npt.NDArray[np.bool_]
    features: dict[str, npt.NDArray[Any]]

    def arrived_by(self, until: int) -> Rows:
        """Rows whose outcome had arrived, in order of arrival, as a dataset has them."""
        rows = np.flatnonzero(self.labelled & (self.outcome_at <= until))
        return rows[np.lexsort((self.entity[rows], self.outcome_at[rows]))]


def seen(world: World) -> Seen:
    """What the world showed, all features included."""
    return Seen(world.entity, world.asked_at, world.outcome_at, world.labelled, world.late, world.all_features)


def days_shuffled(year: Seen, seed: int) -> Seen:
    """The same days in another order: a world with weather and no seasons, in which nothing is there to be found."""
    day = (year.asked_at + ASKED_BEFORE_DEPARTURE - DAY_BEGINS) // DAY
    days = np.unique(day)
    moved = np.random.default_rng(seed).permutation(days)[np.searchsorted(days, day)]
    shift = (moved - day) * DAY
    order = np.argsort(year.asked_at + shift, kind="stable")
    return Seen(
        entity=year.entity[order],
        asked_at=(year.asked_at + shift)[order],
        outcome_at=(year.outcome_at + shift)[order],
        labelled=year.labelled[order],
        late=year.late[order],
        features={name: column[order] for name, column in year.features.items()},
    )


def rows_shuffled(year: Seen, seed: int) -> Seen:
    """The same rows at each other's times. A sanity check only: it hides every dependence there is."""
    order = np.arange(len(year.asked_at))
    order[year.labelled] = np.random.default_rng(seed).permutation(order[year.labelled])
    return Seen(
        entity=year.entity,
        asked_at=year.asked_at,
        outcome_at=year.outcome_at,
        labelled=year.labelled,
        late=year.late[order],
        features={name: column[order] for name, column in year.features.items()},
    )
