"""Rows as columns: what an encoder reads, from a request, a poll or an Arrow table alike."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftloop_models.refusal import RowsRefused

FeatureType = Literal["number", "category", "boolean"]
Column = Sequence[Any] | npt.NDArray[Any]
Columns = Mapping[str, Column]
Floats = npt.NDArray[np.float64]

FEATURE_TYPES: tuple[FeatureType, ...] = ("number", "category", "boolean")


def columns_of(rows: pa.Table, features: Mapping[str, FeatureType]) -> dict[str, Column]:
    """The feature columns of a table: numbers and booleans as float64 with NaN for null, categories as a list.

    A feature without a column in the table is left out, which an encoder reads as missing everywhere.
    """
    return {
        name: rows[name].to_pylist() if kind == "category" else floats_of(rows[name], name)
        for name, kind in features.items()
        if name in rows.column_names
    }


def floats_of(column: pa.ChunkedArray, name: str) -> Floats:
    """One column of numbers or booleans as float64, null as NaN."""
    try:
        as_double = column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column
        values: Floats = as_double.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as reason:
        raise RowsRefused(f"feature {name!r} is declared a number, its column is {column.type}: {reason}") from reason
    return values


def row_count(columns: Columns) -> int:
    """How many rows the columns have. Raises RowsRefused where they disagree or there are none to count."""
    lengths = {len(column) for column in columns.values()}
    if len(lengths) == 1:
        return lengths.pop()
    if not lengths:
        raise RowsRefused("no column given: the number of rows is unknown")
    each = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
    raise RowsRefused(f"columns of unequal length: {each}")
