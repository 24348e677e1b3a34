"""What an encoder knows about one feature."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from driftloop_models.refusal import ModelRefused
from driftloop_models.rows import Column, Floats

Value = str | int | float | bool


@dataclass(frozen=True)
class NumberField:
    """A number, or a boolean as 0 and 1: what stands in for a missing one, and how it is scaled."""

    name: str
    kind: Literal["number", "boolean"]
    fill: float
    center: float
    scale: float
    flagged: bool
    """Whether missing is a column of its own: only where it was ever missing in the fitted rows."""

    @classmethod
    def fit(cls, name: str, kind: Literal["number", "boolean"], values: Floats) -> "NumberField":
        """Fill with the median, centre by the mean, scale by the standard deviation of the values that are there."""
        present = values[np.isfinite(values)]
        missing_some = len(present) < len(values)
        if not len(present):
            return cls(name, kind, fill=0.0, center=0.0, scale=1.0, flagged=missing_some)
        spread = float(present.std())
        return cls(
            name,
            kind,
            fill=float(np.median(present)),
            center=float(present.mean()),
            scale=spread if spread > 0 else 1.0,
            flagged=missing_some,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.kind,
            "fill": self.fill,
            "center": self.center,
            "scale": self.scale,
            "flagged": self.flagged,
        }


@dataclass(frozen=True)
class CategoryField:
    """A category and the values it had when the model was trained, sorted."""

    name: str
    values: tuple[Value, ...]
    kind: Literal["category"] = "category"

    @classmethod
    def fit(
        cls, name: str, counted: Iterable[tuple[int, Value]], min_count: int, max_categories: int
    ) -> "CategoryField":
        """Keep the values seen at least min_count times, the most frequent max_categories of them."""
        often = [(count, value) for count, value in counted if count >= min_count]
        # By count, then by value: equal counts must not let the order of the rows decide.
        kept = sorted(often, key=lambda entry: (-entry[0], _order(entry[1])))[:max_categories]
        return cls(name, tuple(sorted((value for _, value in kept), key=_order)))

    @property
    def width(self) -> int:
        """Columns in a one-hot matrix: one a value, one for missing."""
        return len(self.values) + 1

    @cached_property
    def places(self) -> dict[Any, float]:
        """Value to ordinal code; missing is NaN."""
        return {**{value: float(at) for at, value in enumerate(self.values)}, None: math.nan}

    def look_up(self, column: Column | None, table: Mapping[Any, float], unseen: float, n: int) -> list[float]:
        """The code of each value; `unseen` for a value not in the table, and missing where there is no column."""
        if column is None:
            return [table[None]] * n
        get = table.get
        return [get(value, unseen) for value in _plain(column)]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "type": "category", "values": list(self.values)}


def field_from_json(document: Any) -> NumberField | CategoryField:
    """Raises ModelRefused, with the field's name, where the document is not what `to_json` writes."""
    if not isinstance(document, dict) or not isinstance(document.get("name"), str):
        raise ModelRefused(f"encoder: a field needs a name, got {document!r:.100}")
    name, kind = document["name"], document.get("type")
    if kind == "category":
        return CategoryField(name, _values(name, document.get("values")))
    if kind in ("number", "boolean"):
        fill, center, scale = (_finite(name, document, part) for part in ("fill", "center", "scale"))
        if scale <= 0:
            raise ModelRefused(f"encoder field {name!r}: scale must be above 0, got {scale}")
        return NumberField(name, kind, fill, center, scale, document.get("flagged") is True)
    raise ModelRefused(f"encoder field {name!r}: type {kind!r}; allowed: number, boolean, category")


def _values(name: str, values: Any) -> tuple[Value, ...]:
    plain = isinstance(values, list) and all(isinstance(value, str | int | float) for value in values)
    if not plain or len(set(values)) != len(values):
        raise ModelRefused(f"encoder field {name!r}: values must be distinct strings, numbers or booleans")
    return tuple(values)


def _finite(name: str, document: Mapping[str, Any], part: str) -> float:
    number = document.get(part)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ModelRefused(f"encoder field {name!r}: {part} must be a finite number, got {number!r}")
    return float(number)


def _order(value: Value) -> tuple[str, Any]:
    return ("number" if isinstance(value, int | float) else "text", value)


def _plain(column: Column) -> Iterable[Any]:
    """Python values; an array's NaN is None, since a category is never NaN on the wire but may be in a numpy column."""
    if not isinstance(column, np.ndarray):
        return column
    if column.dtype.kind == "f":
        return [None if value != value else value for value in column.tolist()]
    plain: list[Any] = column.tolist()
    return plain
