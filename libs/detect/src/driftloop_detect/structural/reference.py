"""What the features were like in the training rows, and the limits that follow from it.

Every limit comes from the training rows' own blocks: what a healthy block did there is allowed, with room to spare.
A fixed threshold on a distance would flag the season, the weekday and the weather.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.errors import NotReady
from driftloop_detect.spec import FloatArray, IntArray
from driftloop_detect.structural.columns import NULL, UNSEEN, Columns, Layout, Rows, arranged, is_number
from driftloop_detect.structural.tally import BEAT_ROWS, BLOCK_ROWS, Tally, contrasts, counted, next_beat

MIN_BLOCKS: Final = 5
MAX_SEGMENTS: Final = 16
# Values beyond these count as unseen only if the training rows had none of them, so there is room for all.
MAX_CATEGORIES: Final = 4_096
SHOWN_QUANTILES: Final = 17
MIN_CONTRASTS: Final = 20


@dataclass(frozen=True, slots=True)
class NumberReference:
    """One number column in the training rows."""

    null_rate: float
    minimum: float
    maximum: float
    mean: float
    sd: float
    quantiles: list[float]
    low: float
    high: float
    """What is allowed: the extremes of the blocks, with as much room as they differ among each other."""
    max_null_rate: float
    max_outside_rate: float
    contrast: dict[str, float]
    """Per segment: median distance to the other segments in a beat."""
    contrast_room: dict[str, float]
    """Per segment: how far from that median it ever was."""
    longest_run: dict[str, float]
    """Per segment: most equal values in a row."""


@dataclass(frozen=True, slots=True)
class CategoryReference:
    """One category column in the training rows."""

    null_rate: float
    shares: dict[str, float]
    max_null_rate: float
    share_room: dict[str, float]
    """Per value: how far from its share a block ever was."""
    new_rate: float
    """Share of the last fifth of the rows whose value the first four fifths did not have: some columns are never known."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The training rows, as the checks need them."""

    rows: int
    segments: list[str]
    numbers: dict[str, NumberReference]
    categories: dict[str, CategoryReference]

    @property
    def layout(self) -> Layout:
        values = {name: tuple(category.shares) for name, category in self.categories.items()}
        return Layout(tuple(self.numbers), values, tuple(self.segments))

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).digest()

    def to_json(self) -> dict[str, Any]:
        """Plain values; all numbers are finite."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Raises KeyError or TypeError for a document that `to_json` did not make."""
        return cls(
            rows=document["rows"],
            segments=document["segments"],
            numbers={name: NumberReference(**part) for name, part in document["numbers"].items()},
            categories={name: CategoryReference(**part) for name, part in document["categories"].items()},
        )

    @classmethod
    def of(cls, columns: Columns, segment: NDArray[Any] | None = None) -> Self:
        """The reference of training rows **in time order**: blocks of them are what a healthy block looks like.

        columns: name to array of shape (n,); numbers with NaN, others with None for null. segment: shape (n,), the
        value by which siblings are told apart. Raises NotReady below 5 blocks of 1,000 rows.
        """
        n = len(next(iter(columns.values()), np.array([])))
        if n < MIN_BLOCKS * BLOCK_ROWS:
            raise NotReady(f"a reference needs {MIN_BLOCKS * BLOCK_ROWS} training rows, got {n}")
        layout = _layout(columns, segment)
        rows = arranged(layout, columns, n, segment)
        low, high = _range(rows.numbers)
        measured = _Measured(layout, rows, low, high)
        return cls(
            rows=n,
            segments=list(layout.segments),
            numbers={name: measured.number(i) for i, name in enumerate(layout.numbers)},
            categories={name: measured.category(i) for i, name in enumerate(layout.categories)},
        )


def _layout(columns: Columns, segment: NDArray[Any] | None) -> Layout:
    numbers = tuple(name for name, column in columns.items() if is_number(column))
    categories = {name: _values(column) for name, column in columns.items() if not is_number(column)}
    common = () if segment is None else _values(segment)[:MAX_SEGMENTS]
    return Layout(numbers, categories, common)


def _values(column: NDArray[Any]) -> tuple[str, ...]:
    """All values, the most frequent first."""
    counts = Counter(str(value) for value in column.tolist() if value is not None and value == value)
    return tuple(sorted(counts, key=lambda value: (-counts[value], value))[:MAX_CATEGORIES])


def _range(numbers: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What is allowed per column: beyond the blocks' 1 % and 99 % quantiles as far as these differ among blocks.

    A minute of the day is the same every day and gets no room; a temperature that moved by 50 degrees gets 50.
    """
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    count = len(numbers) // BLOCK_ROWS
    blocks = numbers[: count * BLOCK_ROWS].reshape(count, BLOCK_ROWS, numbers.shape[1])
    lows, highs = _quantiles(blocks, 0.01, 0.99)
    low, high = np.full(numbers.shape[1], -np.inf), np.full(numbers.shape[1], np.inf)
    some = np.isfinite(lows).any(axis=0)
    least, most = np.nanmin(lows[:, some], axis=0), np.nanmax(highs[:, some], axis=0)
    # A column that never moves may still be rounded differently tomorrow.
    rounding = 1e-6 * np.maximum(np.abs(least), np.abs(most)) + 1e-9
    low[some] = least - (np.nanmax(lows[:, some], axis=0) - least) - rounding
    high[some] = most + (most - np.nanmin(highs[:, some], axis=0)) + rounding
    return low, high


def _quantiles(blocks: FloatArray, *qs: float) -> Iterator[FloatArray]:
    """Of each block's column, NaN left out: shape (blocks, columns) for each q. NaN where a column has no value.

    As `np.nanquantile`, which goes column by column in Python: half of a reference's time.
    """
    ordered = np.sort(blocks.transpose(0, 2, 1), axis=2)  # NaN last
    last = np.isfinite(ordered).sum(axis=2) - 1
    for q in qs:
        place = q * last
        below, above = np.maximum(np.floor(place), 0), np.maximum(np.ceil(place), 0)
        low, high = (np.take_along_axis(ordered, at.astype(np.intp)[:, :, None], 2)[:, :, 0] for at in (below, above))
        yield low + (high - low) * (place - below)


def _beats(layout: Layout, rows: Rows, low: FloatArray, high: FloatArray) -> Iterator[Tally]:
    """The tally at the end of every beat of the training rows, as the watch will see it."""
    tally, starts = Tally.empty(layout, views=0), layout.starts
    for start in range(0, len(rows) // BLOCK_ROWS * BLOCK_ROWS, BEAT_ROWS):
        tally = counted(tally, rows[start : start + BEAT_ROWS], low, high, starts)
        yield tally
        tally = next_beat(tally)


class _Measured:
    """The training rows, measured once."""

    def __init__(self, layout: Layout, rows: Rows, low: FloatArray, high: FloatArray) -> None:
        beats = list(_beats(layout, rows, low, high))
        blocks = beats[BLOCK_ROWS // BEAT_ROWS - 1 :: BLOCK_ROWS // BEAT_ROWS]
        self.layout, self.rows, self.low, self.high = layout, rows, low, high
        self.null_numbers = np.array([b.null_numbers for b in blocks]).max(axis=0, initial=0) / BLOCK_ROWS
        self.null_categories = np.array([b.null_categories for b in blocks]).max(axis=0, initial=0) / BLOCK_ROWS
        self.outside = np.array([b.outside for b in blocks]).max(axis=0, initial=0) / BLOCK_ROWS
        self.values = np.array([b.values for b in blocks]) / BLOCK_ROWS
        self.runs = np.array([b.runs for b in beats]).max(axis=0, initial=0)
        self.contrasts = np.array([contrasts(b) for b in beats])

    def number(self, at: int) -> NumberReference:
        column = self.rows.numbers[:, at]
        finite = column[np.isfinite(column)]
        # A column without any value has no figures, and JSON has no NaN: zeros, with a null rate of 1 beside them.
        shown = finite if len(finite) else np.zeros(1)
        contrast, room = self._contrast(at)
        return NumberReference(
            null_rate=float(np.isnan(column).mean()),
            minimum=float(shown.min()),
            maximum=float(shown.max()),
            mean=float(shown.mean()),
            sd=float(shown.std()),
            quantiles=np.quantile(shown, np.linspace(0, 1, SHOWN_QUANTILES)).tolist(),
            low=float(np.nan_to_num(self.low[at])),
            high=float(np.nan_to_num(self.high[at])),
            max_null_rate=float(self.null_numbers[at]),
            max_outside_rate=float(self.outside[at]),
            contrast=contrast,
            contrast_room=room,
            longest_run={name: float(self.runs[s, at]) for s, name in enumerate(self.layout.segments)},
        )

    def _contrast(self, at: int) -> tuple[dict[str, float], dict[str, float]]:
        """Median and greatest distance from it, of the segments that were seen often enough."""
        medians, rooms = {}, {}
        for s, name in enumerate(self.layout.segments):
            seen = self.contrasts[:, s, at]
            seen = seen[np.isfinite(seen)]
            if len(seen) >= MIN_CONTRASTS:
                medians[name] = float(np.median(seen))
                rooms[name] = float(np.abs(seen - medians[name]).max())
        return medians, rooms

    def category(self, at: int) -> CategoryReference:
        name = list(self.layout.categories)[at]
        values, start = self.layout.categories[name], int(self.layout.starts[at])
        codes = self.rows.codes[:, at]
        shares = np.bincount(codes[codes >= 0], minlength=len(values)) / len(codes)
        room = np.abs(self.values[:, start : start + len(values)] - shares).max(axis=0, initial=0)
        return CategoryReference(
            null_rate=float((codes == NULL).mean()),
            shares=dict(zip(values, shares.tolist(), strict=True)),
            max_null_rate=float(self.null_categories[at]),
            share_room=dict(zip(values, room.tolist(), strict=True)),
            new_rate=_new_rate(codes),
        )


def _new_rate(codes: IntArray) -> float:
    earlier, later = np.split(codes, [4 * len(codes) // 5])
    return float((~np.isin(later, earlier) | (later == UNSEEN))[later != NULL].sum() / len(later))
