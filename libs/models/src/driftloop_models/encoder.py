"""From names and values to a float matrix.

A generic scikit-learn pipeline costs milliseconds a call, for one row as for a hundred. Here a request is one lookup
per category and one array operation over all numbers, and the whole of it is a JSON document.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from driftloop_models.fields import CategoryField, NumberField, field_from_json
from driftloop_models.refusal import ModelRefused, RowsRefused
from driftloop_models.rows import FEATURE_TYPES, Columns, FeatureType, Floats, floats_of, row_count

if TYPE_CHECKING:
    import scipy.sparse

Style = Literal["one_hot", "ordinal"]
Codes = npt.NDArray[np.intp]
UNSEEN_CODE: Final = -1.0

# A category with more values than this is an identifier: it would make the model as large as its data.
MAX_CATEGORIES: Final = 1000


@dataclass(frozen=True)
class Encoder:
    """Turns columns into a matrix; what it learnt from its rows is all in `fields`.

    one_hot, for linear models: numbers filled, centred and scaled; then a 0/1 column per number that was ever missing;
    then per category one column a value and one for missing. An unseen value is all zeros.
    ordinal, for trees: one column a feature in declared order; numbers as they are, a category as its place among the
    sorted values, unseen -1, missing NaN.
    """

    style: Style
    fields: tuple[NumberField | CategoryField, ...]

    @classmethod
    def fit(
        cls,
        rows: pa.Table,
        features: Mapping[str, FeatureType],
        style: Style,
        *,
        min_count: int = 1,
        max_categories: int = MAX_CATEGORIES,
    ) -> "Encoder":
        """Learn fills, scales and category tables from these rows.

        min_count: a category value seen less often counts as unseen; max_categories: beyond it the rarest do.
        Raises RowsRefused where a feature has no column or one of another type.
        """
        absent = [name for name in features if name not in rows.column_names]
        if absent:
            raise RowsRefused(f"no column for {', '.join(absent)}; the rows have {', '.join(rows.column_names)}")
        return cls(style, tuple(_learn(rows, name, kind, min_count, max_categories) for name, kind in features.items()))

    @cached_property
    def features(self) -> dict[str, FeatureType]:
        """Name to declared type, in declared order."""
        return {field.name: field.kind for field in self.fields}

    @cached_property
    def width(self) -> int:
        """Number of columns of the matrix."""
        return (
            len(self.fields) if self.style == "ordinal" else self._first_code + sum(f.width for f in self._categories)
        )

    def matrix(self, columns: Columns) -> Floats:
        """The rows as float64, shape (n, width). An absent column is missing everywhere; infinite is missing too.

        Raises RowsRefused for columns of unequal length and for values that are no number where one is declared.
        """
        if self.style == "ordinal":
            return self._ordinal(columns)
        numbers, codes = self._parts(columns)
        wide = np.zeros((len(numbers), self.width + 1))
        wide[:, : self._first_code] = numbers
        wide[np.arange(len(numbers))[:, None], codes] = 1.0
        return wide[:, :-1]

    def sparse(self, columns: Columns) -> "scipy.sparse.csr_array":
        """`matrix(columns)` in compressed rows: what a linear fit on many categories should read. one_hot only.

        A sixth of the memory, a quarter of the time, and no threaded arithmetic whose last bits depend on the machine.
        """
        import scipy.sparse  # only a fit needs it

        if self.style == "ordinal":
            raise ModelRefused("ordinal codes are dense: use `matrix`")
        numbers, codes = self._parts(columns)
        n, width = len(numbers), numbers.shape[1] + codes.shape[1]
        places = np.concatenate([np.broadcast_to(np.arange(numbers.shape[1]), numbers.shape), codes], axis=1)
        values = np.concatenate([numbers, np.ones(codes.shape)], axis=1)
        # An unseen category lies beyond the last column; nothing of it stays, as of a zero.
        values[places == self.width] = 0.0
        starts = np.arange(0, n * width + 1, width)
        made = scipy.sparse.csr_array((values.ravel(), places.ravel(), starts), shape=(n, self.width + 1))
        # As small as they fit: a fit walks over them hundreds of times.
        kind = scipy.sparse.get_index_dtype(maxval=max(n * width, self.width + 1))
        made.indices, made.indptr = made.indices.astype(kind), made.indptr.astype(kind)
        made.eliminate_zeros()
        made.resize(n, self.width)
        return made

    def dot(self, columns: Columns, weights: Floats) -> Floats:
        """`matrix(columns) @ weights` for weights of shape (width,), without building the one-hot columns.

        A row scores the same to the last bit alone as in a batch, so that no verdict depends on how a log was cut.
        """
        if self.style == "ordinal":
            summed: Floats = (self._ordinal(columns) * weights).sum(axis=1)
            return summed
        numbers, codes = self._parts(columns)
        with_unseen = np.append(weights, 0.0)
        total: Floats = (numbers * weights[: self._first_code]).sum(axis=1) + with_unseen[codes].sum(axis=1)
        return total

    def to_json(self) -> dict[str, Any]:
        """A document that `from_json` reads back to an equal encoder."""
        return {"style": self.style, "fields": [field.to_json() for field in self.fields]}

    @classmethod
    def from_json(cls, document: Any) -> "Encoder":
        """Raises ModelRefused where the document is not what `to_json` writes."""
        if not isinstance(document, dict) or document.get("style") not in ("one_hot", "ordinal"):
            raise ModelRefused("encoder: expected an object with style one_hot or ordinal")
        fields = document.get("fields")
        if not isinstance(fields, list) or not fields:
            raise ModelRefused("encoder: expected at least one field")
        return cls(document["style"], tuple(field_from_json(field) for field in fields))

    @cached_property
    def _numbers(self) -> tuple[NumberField, ...]:
        return tuple(field for field in self.fields if isinstance(field, NumberField))

    @cached_property
    def _categories(self) -> tuple[CategoryField, ...]:
        return tuple(field for field in self.fields if isinstance(field, CategoryField))

    @cached_property
    def _flagged(self) -> npt.NDArray[np.intp]:
        return np.array([at for at, field in enumerate(self._numbers) if field.flagged], dtype=np.intp)

    @cached_property
    def _first_code(self) -> int:
        return len(self._numbers) + len(self._flagged)

    @cached_property
    def _scaling(self) -> tuple[Floats, Floats, Floats]:
        fields = self._numbers
        return (
            np.array([field.fill for field in fields]),
            np.array([field.center for field in fields]),
            np.array([field.scale for field in fields]),
        )

    @cached_property
    def _code_tables(self) -> tuple[dict[Any, int], ...]:
        tables, first = [], self._first_code
        for field in self._categories:
            tables.append({value: first + at for at, value in enumerate((*field.values, None))})
            first += field.width
        return tuple(tables)

    def _parts(self, columns: Columns) -> tuple[Floats, Codes]:
        """Scaled numbers with their missing flags, (n, first code), and the column index of each category, (n, c)."""
        n = row_count(columns)
        raw = self._raw_numbers(columns, n)
        missing = ~np.isfinite(raw)
        fill, center, scale = self._scaling
        scaled = (np.where(missing, fill, raw) - center) / scale
        numbers = np.concatenate([scaled, missing[:, self._flagged]], axis=1)
        codes = np.empty((n, len(self._categories)), dtype=np.intp)
        for at, (field, table) in enumerate(zip(self._categories, self._code_tables, strict=True)):
            codes[:, at] = field.look_up(columns.get(field.name), table, self.width, n)
        return numbers, codes

    def _ordinal(self, columns: Columns) -> Floats:
        n = row_count(columns)
        raw = self._raw_numbers(columns, n)
        out = np.empty((n, len(self.fields)))
        at_number = 0
        for at, field in enumerate(self.fields):
            if isinstance(field, CategoryField):
                out[:, at] = field.look_up(columns.get(field.name), field.places, UNSEEN_CODE, n)
            else:
                out[:, at] = raw[:, at_number]
                at_number += 1
        out[np.isinf(out)] = np.nan
        return out

    def _raw_numbers(self, columns: Columns, n: int) -> Floats:
        """All numbers as (n, numbers), contiguous by row: one conversion for all columns, a third of the cost."""
        absent = np.full(n, np.nan)
        given = [columns.get(field.name, absent) for field in self._numbers]
        if not given:
            return np.empty((n, 0))
        try:
            return np.ascontiguousarray(np.array(given, dtype=np.float64).T)
        except (TypeError, ValueError) as reason:
            raise RowsRefused(self._culprit(columns)) from reason

    def _culprit(self, columns: Columns) -> str:
        for field in self._numbers:
            try:
                np.asarray(columns.get(field.name, ()), dtype=np.float64)
            except (TypeError, ValueError) as reason:
                return f"feature {field.name!r} is declared a {field.kind}: {reason}"
        return "the numeric columns do not form a table"


def _learn(
    rows: pa.Table, name: str, kind: FeatureType, min_count: int, max_categories: int
) -> NumberField | CategoryField:
    if kind not in FEATURE_TYPES:
        raise ModelRefused(f"feature {name!r} has type {kind!r}; allowed: {', '.join(FEATURE_TYPES)}")
    if kind != "category":
        return NumberField.fit(name, kind, floats_of(rows[name], name))
    counts = pc.value_counts(rows[name].combine_chunks()).to_pylist()
    seen = [(entry["counts"], entry["values"]) for entry in counts if entry["values"] is not None]
    return CategoryField.fit(name, seen, min_count, max_categories)
