"""A model's event-time clock: what its two topics together have surely told.

Predictions and outcomes arrive on two topics that no order binds. A window may only close when both have passed its
end; but a topic that fell silent must not hold the other for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Kind = Literal["predictions", "outcomes"]
KINDS: Final[tuple[Kind, Kind]] = ("predictions", "outcomes")

# How far one topic may run ahead of the other before it is taken for silent. More than a day: a reader that catches up
# may take a day of one topic before the other, and what is decided must not depend on it.
PATIENCE_US: Final = 36 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Clocks:
    """The greatest event time of each stream in each topic, and the watermark that follows. It never goes back."""

    predictions: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    watermark: int = 0

    def of(self, kind: Kind) -> Mapping[str, int]:
        """Stream to greatest event time, of one topic."""
        return self.predictions if kind == "predictions" else self.outcomes


def advanced(clocks: Clocks, kind: Kind, streams: Sequence[str], times_us: IntArray) -> tuple[Clocks, IntArray]:
    """The clocks after these rows of one topic, in log order; and when each row arrived, in event time, shape (n,).

    Watermark: the least of the streams' clocks in both topics, but not more than PATIENCE_US behind the greatest.
    A row arrives at its own time; one that comes after later ones of its stream arrives with these, so that it is never
    counted to a time that is over. How the log is cut into calls changes neither, nor, while no topic is taken for
    silent, does the order in which the two topics are read.
    """
    if len(times_us) == 0:
        return clocks, np.zeros(0, np.int64)
    runs = _runs(clocks.of(kind), streams, times_us)
    still = [
        clocks.of(other).get(stream, 0)
        for other in KINDS
        for stream in {*clocks.predictions, *clocks.outcomes, *runs}
        if not (other == kind and stream in runs)
    ]
    stacked = np.vstack([*runs.values(), *(np.full(len(times_us), clock, np.int64) for clock in still)])
    marks = np.maximum(stacked.min(axis=0), stacked.max(axis=0) - PATIENCE_US)
    marks = np.maximum.accumulate(np.maximum(marks, clocks.watermark))
    before = np.concatenate([[clocks.watermark], marks[:-1]])
    newest = {**clocks.of(kind), **{stream: int(run[-1]) for stream, run in runs.items()}}
    return _with(clocks, kind, newest, int(marks[-1])), np.maximum(before, _own(runs, streams))


def _own(runs: Mapping[str, IntArray], streams: Sequence[str]) -> IntArray:
    """Each row's own stream's clock, with the row."""
    if len(runs) == 1:
        return next(iter(runs.values()))
    place = {name: i for i, name in enumerate(runs)}
    return np.vstack(list(runs.values()))[[place[name] for name in streams], np.arange(len(streams))]


def _runs(known: Mapping[str, int], streams: Sequence[str], times_us: IntArray) -> dict[str, IntArray]:
    """For each stream of the batch its greatest time so far, at every row of the batch."""
    names = dict.fromkeys(streams)
    if len(names) == 1:
        name = next(iter(names))
        return {name: np.maximum.accumulate(np.maximum(times_us, known.get(name, 0)))}
    column = np.array(streams, dtype=object)
    floor = {name: known.get(name, 0) for name in names}
    return {name: np.maximum.accumulate(np.where(column == name, times_us, 0).clip(floor[name])) for name in names}


def _with(clocks: Clocks, kind: Kind, newest: dict[str, int], watermark: int) -> Clocks:
    if kind == "predictions":
        return replace(clocks, predictions=newest, watermark=watermark)
    return replace(clocks, outcomes=newest, watermark=watermark)
