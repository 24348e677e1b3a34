"""A model's event-time clock: what its two topics together have surely told.

Predictions and outcomes arrive on two topics that no order binds, and a reader that catches up may take a week of one
before the other. So a decision is due only when both have passed its time. A topic that has fallen silent must not hold
the other for ever: whoever knows that it was read to its end says so, and the clock goes on without it.
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

# Shards let a large model's rows be read in parallel. Who has more of them has put something else into the key, an entity perhaps,
# and each would be a clock, a block and a round trip of its own.
MAX_STREAMS: Final = 128
# How far behind the other a topic that fell silent is still waited for.
PATIENCE_US: Final = 12 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of one stream in a row that lie far ahead of its clock."""

    first_us: int
    rows: int


@dataclass(frozen=True, slots=True)
class Clocks:
    """The greatest event time of each stream in each topic, and the watermark that follows. It never goes back."""

    predictions: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    watermark: int = 0
    partitions: Mapping[str, int] = field(default_factory=dict)
    """Stream to its partition: the same number in both topics."""
    ahead: Mapping[str, Run] = field(default_factory=dict)
    """`topic:stream` to its present run of rows that are not believed."""

    @property
    def far_apart(self) -> bool:
        """One topic is so far ahead that the other may be silent."""
        return self.newest - PATIENCE_US > self.watermark

    @property
    def newest(self) -> int:
        """The greatest event time of both topics."""
        return max([*self.predictions.values(), *self.outcomes.values()], default=0)

    def without_the_silent(self, newest_us: int) -> Clocks:
        """The watermark is at most PATIENCE_US behind this time, which one topic has told and the other surely has not."""
        return replace(self, watermark=max(self.watermark, newest_us - PATIENCE_US))

    def of(self, kind: Kind) -> Mapping[str, int]:
        """Stream to greatest event time, of one topic."""
        return self.predictions if kind == "predictions" else self.outcomes


def bounded(clocks: Clocks, streams: list[str], other: str) -> list[str]:
    """The rows' streams, the first MAX_STREAMS of a model by their names and all further ones as the stream `other`.

    Which are the first, the order of the logs decides; however a log is cut, they are the same. Where all fit, it is the very
    list that was given.
    """
    names = dict.fromkeys(streams)
    known = {*clocks.partitions, *(key.partition(":")[2] for key in clocks.ahead)}
    new = [name for name in names if name not in known]
    if len(known) + len(new) <= MAX_STREAMS:
        return streams
    kept = known | set(new[: max(0, MAX_STREAMS - len(known))])
    return [name if name in kept else other for name in streams]


def advanced(
    clocks: Clocks, kind: Kind, streams: Sequence[str], times_us: IntArray, partition: int = 0
) -> tuple[Clocks, IntArray]:
    """The clocks after these rows of one topic, in log order; and when each row arrived, in event time, shape (n,).

    Watermark: the least of the streams' clocks in both topics. A row arrives at its own time; one that comes after later
    ones of its stream arrives with these, so that it is never counted to a time that is over. How the log is cut into
    calls changes neither, nor, while no topic is taken for silent, does the order in which the two topics are read.
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
    marks = np.maximum.accumulate(np.maximum(stacked.min(axis=0), clocks.watermark))
    before = np.concatenate([[clocks.watermark], marks[:-1]])
    newest = {**clocks.of(kind), **{stream: int(run[-1]) for stream, run in runs.items()}}
    clocks = replace(clocks, partitions={**clocks.partitions, **dict.fromkeys(runs, partition)})
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
