"""Columns as they arrive, as the arrays that the checks count on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.spec import FloatArray, IntArray

Columns = Mapping[str, NDArray[Any]]

NULL: Final = -1
UNSEEN: Final = -2
# In place of a value of a number column that is no number: outside every range, and no null.
NOT_A_NUMBER: Final = np.inf
_TEXTS: Final = frozenset({str, type(None)})


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns there are, and which values they may take."""

    numbers: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    """Every value that the training rows had, per category column."""
    segments: tuple[str, ...]

    @property
    def starts(self) -> IntArray:
        """Where each category column's values begin, when the values of all lie in one array."""
        sizes = [len(values) for values in self.categories.values()]
        return np.cumsum([0, *sizes])[:-1].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows in the layout's order."""

    numbers: FloatArray
    """shape (n, numbers); NaN is null, infinite is what is no number."""
    codes: IntArray
    """shape (n, categories): the value's place in the layout, or NULL or UNSEEN."""
    segment: IntArray
    """shape (n,): the segment's place in the layout, -1 for any other."""
    old: NDArray[np.bool_]
    """shape (n, views): the view's row was older than its max_age, or there was none."""

    def __len__(self) -> int:
        return len(self.segment)

    def __getitem__(self, part: slice) -> "Rows":
        return Rows(self.numbers[part], self.codes[part], self.segment[part], self.old[part])


def is_number(column: NDArray[Any]) -> bool:
    return column.dtype.kind in "fiub"


def arranged(
    layout: Layout, columns: Columns, n: int, segment: NDArray[Any] | None, old: NDArray[np.bool_] | None = None
) -> Rows:
    """The columns as rows of the layout. A column that is not there is null; one that is not in the layout is ignored."""
    numbers = [_numbers(columns.get(name), n) for name in layout.numbers]
    codes = [_codes(columns.get(name), values, n) for name, values in layout.categories.items()]
    places = np.full(n, NULL) if segment is None else _codes(segment, layout.segments, n)
    return Rows(
        np.column_stack(numbers) if numbers else np.zeros((n, 0)),
        np.column_stack(codes) if codes else np.zeros((n, 0), np.int64),
        np.maximum(places, NULL),
        np.zeros((n, 0), bool) if old is None else old,
    )


def _numbers(column: NDArray[Any] | None, n: int) -> FloatArray:
    if column is None:
        return np.full(n, np.nan)
    if is_number(column):
        return column.astype(np.float64)
    return np.array([_number(value) for value in column.tolist()], dtype=np.float64)


def _number(value: object) -> float:
    if value is None:
        return np.nan
    return float(value) if isinstance(value, (int, float)) else NOT_A_NUMBER


def _codes(column: NDArray[Any] | None, values: tuple[str, ...], n: int) -> IntArray:
    if column is None:
        return np.full(n, NULL)
    places = {value: place for place, value in enumerate(values)}
    given = column.tolist()
    if _TEXTS.issuperset(map(type, given)):
        known: dict[Any, int] = {None: NULL}
        known.update(places)
        return np.array([known.get(value, UNSEEN) for value in given], dtype=np.int64)
    return np.array([_code(value, places) for value in given], dtype=np.int64)


def _code(value: object, places: Mapping[str, int]) -> int:
    if value is None or value != value:  # NaN, the null of a float column
        return NULL
    return places.get(str(value), UNSEEN)
