"""Values of rows as numpy columns, and columns joined end to end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_NUMBERS = frozenset({int, float, type(None)})


def column(values: Sequence[Any]) -> Column:
    """float64 with NaN where absent if every value is a number, else object with None."""
    if _NUMBERS.issuperset(map(type, values)):
        return numbers(values)
    return objects(values)


def numbers(values: Sequence[float | int | None]) -> FloatArray:
    """float64, NaN where absent. Raises OverflowError on an integer beyond its range."""
    return np.array(values, dtype=np.float64)


def objects(values: Iterable[Any]) -> Column:
    """Objects as they are, lists and all."""
    given = list(values)
    made = np.empty(len(given), dtype=object)
    made[:] = given
    return made


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """One column per name that any row has, of name where they differ."""
    if len(shapes := set(map(tuple, rows))) == 1:
        # Rows of one model look alike, and turning them over at once is three times faster.
        return {
            name: column(v) for name, v in zip(rows[0], zip(*(row.values() for row in rows), strict=True), strict=True)
        }
    names = dict.fromkeys(name for shape in sorted(shapes) for name in shape)
    return {name: column([row.get(name) for row in rows]) for name in names}


def time_columns(rows: Sequence[Mapping[str, int]]) -> dict[str, IntArray]:
    """One int64 column per name, 0 where absent."""
    names = dict.fromkeys(name for shape in sorted(set(map(tuple, rows))) for name in shape)
    return {name: np.array([row.get(name, 0) for row in rows], dtype=np.int64) for name in names}


def joined(parts: Sequence[Any], lengths: Sequence[int]) -> Any:
    """Equal fields of several batches end to end: lists, arrays, or dicts of columns with gaps filled."""
    match parts[0]:
        case list():
            return [value for part in parts for value in part]
        case dict():
            names = dict.fromkeys(name for part in parts for name in part)
            return {name: _joined_column([part.get(name) for part in parts], lengths) for name in names}
        case _:
            return np.concatenate(parts)


def taken(field: Any, rows: IntArray) -> Any:
    """The rows of a field, as in `joined`."""
    match field:
        case list():
            return [field[row] for row in rows.tolist()]
        case dict():
            return {name: values[rows] for name, values in field.items()}
        case _:
            return field[rows]


def _joined_column(parts: Sequence[Column | None], lengths: Sequence[int]) -> Column:
    kinds = {part.dtype.kind for part in parts if part is not None}
    if kinds == {"i"}:
        gaps: list[Column] = [np.zeros(n, np.int64) for n in lengths]
    elif kinds == {"f"}:
        gaps = [np.full(n, np.nan) for n in lengths]
    else:
        gaps = [np.full(n, None, dtype=object) for n in lengths]
        parts = [None if part is None else as_objects(part) for part in parts]
    return np.concatenate([gap if part is None else part for part, gap in zip(parts, gaps, strict=True)])


def as_objects(values: Column) -> Column:
    """A float column as objects, None where it was NaN."""
    if values.dtype.kind != "f":
        return values
    made = values.astype(object)
    made[np.isnan(values)] = None
    return made
