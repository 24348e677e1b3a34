"""What is counted of a stream's rows, in bounded memory, and the statistics of it.

Counts start anew with every block; sums of a contrast with every beat, a tenth of a block; runs of equal values never.
The training rows go through the very same counting, so a limit and what it limits are one quantity.
"""

from dataclasses import dataclass, fields, replace
from typing import Final, Self

import numpy as np

from driftloop_detect.frame import Arrays
from driftloop_detect.spec import FloatArray, IntArray
from driftloop_detect.structural.columns import NULL, UNSEEN, Layout, Rows

BLOCK_ROWS: Final = 1_000
BEATS: Final = 10
BEAT_ROWS: Final = BLOCK_ROWS // BEATS
# Fewer rows of a segment in a beat give a mean that says nothing.
MIN_CONTRAST_ROWS: Final = 10


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one stream. Stepped, never changed. F numbers, K categories, C values of them, S segments, V views."""

    rows: IntArray
    """shape (1,): rows ever."""
    null_numbers: IntArray
    """shape (F,)"""
    null_categories: IntArray
    """shape (K,)"""
    outside: IntArray
    """shape (F,)"""
    unseen: IntArray
    """shape (K,)"""
    values: IntArray
    """shape (C,): rows with each value of each category column."""
    old: IntArray
    """shape (V,)"""
    sums: FloatArray
    """shape (S, F): of values inside the range, this beat."""
    counts: IntArray
    """shape (S, F)"""
    last: FloatArray
    """shape (S, F): the newest value that was not null."""
    runs: IntArray
    """shape (S, F): values in a row that are equal to it."""

    @classmethod
    def empty(cls, layout: Layout, views: int) -> Self:
        numbers, categories, segments = len(layout.numbers), len(layout.categories), len(layout.segments)
        by_number, by_category = np.zeros(numbers, np.int64), np.zeros(categories, np.int64)
        by_segment = np.zeros((segments, numbers))
        return cls(
            rows=np.zeros(1, np.int64),
            null_numbers=by_number,
            null_categories=by_category,
            outside=by_number,
            unseen=by_category,
            values=np.zeros(sum(map(len, layout.categories.values())), np.int64),
            old=np.zeros(views, np.int64),
            sums=by_segment,
            counts=by_segment.astype(np.int64),
            last=np.full_like(by_segment, np.nan),
            runs=by_segment.astype(np.int64),
        )

    @property
    def rows_in_block(self) -> int:
        return int(self.rows[0]) % BLOCK_ROWS

    def arrays(self) -> Arrays:
        """All of it, flat, for a frame."""
        return {field.name: getattr(self, field.name).ravel() for field in fields(self)}

    def filled(self, arrays: Arrays) -> Self:
        """A tally of this one's shapes from flat arrays. Raises ValueError or KeyError when they do not fit."""
        return replace(self, **{f.name: arrays[f.name].reshape(getattr(self, f.name).shape) for f in fields(self)})


def counted(tally: Tally, rows: Rows, low: FloatArray, high: FloatArray, starts: IntArray) -> Tally:
    """The rows of at most one beat have been counted. starts: where each category column's values begin, shape (K,)."""
    null = np.isnan(rows.numbers)
    outside = ~null & ~((rows.numbers >= low) & (rows.numbers <= high))
    known = rows.codes >= 0
    sums, counts = _segment_sums(tally, rows, ~null & ~outside)
    last, runs = _segment_runs(tally, rows, null)
    return Tally(
        rows=tally.rows + len(rows),
        null_numbers=tally.null_numbers + null.sum(axis=0),
        null_categories=tally.null_categories + (rows.codes == NULL).sum(axis=0),
        outside=tally.outside + outside.sum(axis=0),
        unseen=tally.unseen + (rows.codes == UNSEEN).sum(axis=0),
        values=tally.values + np.bincount((rows.codes + starts)[known], minlength=len(tally.values)),
        old=tally.old + rows.old.sum(axis=0),
        sums=sums,
        counts=counts,
        last=last,
        runs=runs,
    )


def _segment_sums(tally: Tally, rows: Rows, inside: np.ndarray) -> tuple[FloatArray, IntArray]:
    sums, counts = tally.sums.copy(), tally.counts.copy()
    kept = np.where(inside, rows.numbers, 0.0)
    for segment in range(len(sums)):
        own = rows.segment == segment
        if own.any():
            # accumulate adds from row to row, so a cut between two calls leaves the last bit as it was.
            sums[segment] = np.add.accumulate(np.vstack([sums[segment], kept[own]]))[-1]
            counts[segment] += inside[own].sum(axis=0)
    return sums, counts


def _segment_runs(tally: Tally, rows: Rows, null: np.ndarray) -> tuple[FloatArray, IntArray]:
    last, runs = tally.last.copy(), tally.runs.copy()
    for segment in range(len(last)):
        own = rows.segment == segment
        if own.any():
            last[segment], runs[segment] = _runs(last[segment], runs[segment], rows.numbers[own], ~null[own])
    return last, runs


def _runs(last: FloatArray, runs: IntArray, numbers: FloatArray, present: np.ndarray) -> tuple[FloatArray, IntArray]:
    """The newest value per column and how many in a row are equal to it; nulls neither count nor interrupt."""
    held = np.vstack([last, numbers])
    place = np.where(np.vstack([np.ones_like(last, bool), present]), np.arange(len(held))[:, None], 0)
    held = np.take_along_axis(held, np.maximum.accumulate(place), axis=0)
    changed = present & (held[1:] != held[:-1])
    since = np.where(changed, np.arange(len(numbers))[:, None], -1).max(axis=0, initial=-1)
    counted_rows = (present & (np.arange(len(numbers))[:, None] >= since)).sum(axis=0)
    return held[-1], np.where(since >= 0, 0, runs) + counted_rows


def contrasts(tally: Tally) -> FloatArray:
    """Mean of each segment less the mean of the others, this beat; NaN where either has too few rows. shape (S, F)."""
    other_counts = tally.counts.sum(axis=0) - tally.counts
    enough = (tally.counts >= MIN_CONTRAST_ROWS) & (other_counts >= MIN_CONTRAST_ROWS)
    own = tally.sums / np.maximum(tally.counts, 1)
    others = (tally.sums.sum(axis=0) - tally.sums) / np.maximum(other_counts, 1)
    return np.where(enough, own - others, np.nan)


def next_beat(tally: Tally) -> Tally:
    """Contrasts start anew; at the end of a block the counts too."""
    fresh = replace(tally, sums=np.zeros_like(tally.sums), counts=np.zeros_like(tally.counts))
    if tally.rows_in_block:
        return fresh
    names = ("null_numbers", "null_categories", "outside", "unseen", "values", "old")
    return replace(fresh, **{name: np.zeros_like(getattr(tally, name)) for name in names})
