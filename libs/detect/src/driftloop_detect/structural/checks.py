"""Which checks there are for a reference, what each allows, and what a tally says to each."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.spec import FloatArray, IntArray
from driftloop_detect.structural.reference import Reference
from driftloop_detect.structural.tally import BLOCK_ROWS, Tally, contrasts

# A share of odd rows may exceed the training rows' by this share of a block: an hour's outage is no broken pipeline.
ROOM: Final = 0.05
# Null shares of healthy blocks differ by weather and season: allowed are four times the odds of the worst block.
NULL_ODDS: Final = 4.0
# How often the training rows' greatest is allowed. Healthy later months reached 2.5 times the longest run and
# 2.4 times the greatest contrast; most contrasts stay below 2, so beyond that one must last.
RUN_ROOM: Final = 3.0
RUN_ROWS: Final = 50
# A value that rests for as long as this in health (no rain for days) says nothing by resting.
LONGEST_WATCHED_RUN: Final = BLOCK_ROWS
CONTRAST_ROOM: Final = 2.0
CONTRAST_ROOM_AT_ONCE: Final = 3.0
CONTRAST_BEATS: Final = 3
MIX_ROOM: Final = 2.0
NEW_ROOM: Final = 2.0

Kind = Literal["missing", "unseen", "range", "stale", "contrast", "feature"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is watched."""

    kind: Kind
    name: str
    """The feature, or the view that is too old."""
    segment: str | None
    compared: str
    """What is compared with the limit."""


@dataclass(frozen=True, slots=True)
class Measures:
    """All checks at the end of a beat. Each of shape (checks,)."""

    observed: FloatArray
    failing: NDArray[np.bool_]
    streaks: IntArray
    """shape (S, F): beats in a row with a contrast beyond its room."""


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of a reference in a fixed order, with their limits."""

    checks: tuple[Check, ...]
    limit: FloatArray
    """shape (checks,)"""
    expected: FloatArray
    """shape (checks,): what the training rows had."""
    mixes: NDArray[np.bool_]
    """shape (checks,): the checks that hold for whole blocks only."""
    distances: NDArray[np.bool_]
    """shape (checks,): the contrasts."""
    shares: FloatArray
    share_room: FloatArray
    starts: IntArray
    contrast: FloatArray
    """shape (S, F): the training rows' median."""

    @classmethod
    def of(cls, reference: Reference, views: tuple[str, ...]) -> Self:
        families = _families(reference, views)
        checks = tuple(check for family in families for check in family.checks)
        categories = reference.categories.values()
        return cls(
            checks=checks,
            limit=np.concatenate([family.limit for family in families]),
            expected=np.concatenate([family.expected for family in families]),
            mixes=np.array([check.kind == "feature" for check in checks], bool),
            distances=np.array([check.kind == "contrast" for check in checks], bool),
            shares=np.array([share for c in categories for share in c.shares.values()]),
            share_room=np.array([max(ROOM, MIX_ROOM * room) for c in categories for room in c.share_room.values()]),
            starts=reference.layout.starts,
            contrast=_by_segment(reference, "contrast"),
        )

    def measured(self, tally: Tally, streaks: IntArray) -> Measures:
        """What the tally says at the end of a beat. Shares are of a whole block, so they are known before it is over."""
        distance = np.abs(contrasts(tally) - self.contrast)
        room = self.limit[self.distances].reshape(distance.shape)
        # A beat in which a segment was hardly there says nothing, neither for nor against.
        streaks = np.where(np.isnan(distance), streaks, np.where(distance > room, streaks + 1, 0))
        counts = (tally.null_numbers, tally.null_categories, tally.unseen, tally.outside, tally.old)
        observed = np.concatenate(
            [np.concatenate(counts) / BLOCK_ROWS, self._mix(tally), np.nan_to_num(distance).ravel(), tally.runs.ravel()]
        )
        failing = observed > self.limit
        if tally.rows_in_block:
            failing &= ~self.mixes
        failing[self.distances] = _far(distance / room, streaks).ravel()
        return Measures(observed, failing, streaks)

    def _mix(self, tally: Tally) -> FloatArray:
        """Per category column: how far the share of one of its values has moved, in rooms."""
        moved = np.abs(tally.values / BLOCK_ROWS - self.shares) / self.share_room
        cuts = [*self.starts.tolist(), len(moved)]
        return np.array([moved[start:end].max(initial=0) for start, end in pairwise(cuts)], float)


def _far(rooms: FloatArray, streaks: IntArray) -> NDArray[np.bool_]:
    """Which contrasts fail. One segment's fault moves its siblings' contrasts too: only the farthest is named."""
    farthest = rooms == np.fmax.reduce(rooms, axis=0, initial=0)
    lasting = (rooms > CONTRAST_ROOM_AT_ONCE / CONTRAST_ROOM) | (streaks >= CONTRAST_BEATS)
    return np.asarray(farthest & lasting, bool)


@dataclass(frozen=True, slots=True)
class _Family:
    """Checks of one kind, in the order of the tally."""

    checks: list[Check]
    limit: FloatArray
    expected: FloatArray


def _families(reference: Reference, views: tuple[str, ...]) -> list[_Family]:
    """In the order in which `Checks.measured` puts the tally's counts."""
    return [*_share_families(reference, views), *_segment_families(reference)]


def _share_families(reference: Reference, views: tuple[str, ...]) -> list[_Family]:
    numbers, categories = reference.numbers, reference.categories

    def family(kind: Kind, names: list[str], compared: str, limit: list[float], expected: list[float]) -> _Family:
        checks = [Check(kind, name, None, compared) for name in names]
        return _Family(checks, np.array(limit, float), np.array(expected, float))

    def nulls(part: dict[str, float], rates: list[float]) -> _Family:
        limits = [_null_limit(worst) for worst in part.values()]
        return family("missing", list(part), "share of nulls in a block", limits, rates)

    outside = [n.max_outside_rate for n in numbers.values()]
    new, still = [c.new_rate for c in categories.values()], [0.0] * len(categories)
    ages = "share of rows with too old values in a block"
    return [
        nulls({k: n.max_null_rate for k, n in numbers.items()}, [n.null_rate for n in numbers.values()]),
        nulls({k: c.max_null_rate for k, c in categories.items()}, [c.null_rate for c in categories.values()]),
        family(
            "unseen",
            list(categories),
            "share of unseen values in a block",
            [ROOM + NEW_ROOM * rate for rate in new],
            new,
        ),
        family("range", list(numbers), "share out of range in a block", [ROOM + rate for rate in outside], outside),
        family("stale", list(views), ages, [ROOM] * len(views), [0.0] * len(views)),
        family("feature", list(categories), "greatest move of a value's share, in rooms", [1.0] * len(still), still),
    ]


def _segment_families(reference: Reference) -> list[_Family]:
    pairs = [(segment, name) for segment in reference.segments for name in reference.numbers]
    far = CONTRAST_ROOM * _by_segment(reference, "contrast_room").ravel()
    # Segments that were too rare, or never differed, say nothing about how far they may.
    far[far == 0] = np.inf
    runs = _by_segment(reference, "longest_run").ravel()
    too_long = np.where(runs < LONGEST_WATCHED_RUN, RUN_ROOM * runs + RUN_ROWS, np.inf)
    apart, equal = "distance to the other segments", "equal values in a row"
    return [
        _Family([Check("contrast", n, s, apart) for s, n in pairs], far, np.zeros(len(pairs))),
        _Family([Check("stale", n, s, equal) for s, n in pairs], too_long, runs),
    ]


def _by_segment(reference: Reference, figure: str) -> FloatArray:
    rows = [[getattr(n, figure).get(s, 0.0) for n in reference.numbers.values()] for s in reference.segments]
    return np.array(rows, float).reshape(len(reference.segments), len(reference.numbers))


def _null_limit(worst: float) -> float:
    """Above 1 for a column that was null through a whole block: there is nothing to see then."""
    odds = NULL_ODDS * worst
    return odds / (1 - worst + odds) + ROOM
