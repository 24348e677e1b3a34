"""What was known when: which of two readings is newer, and which rows a dataset holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

Scalar = bool | int | float | str | None
Status = Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of an entity's features."""

    view: str
    entity: str
    values: dict[str, Scalar]
    time: datetime
    revision: int
    event_id: str

    def rank(self) -> tuple[datetime, int, str]:
        """The greater rank is the newer reading; the id decides between equals, so that any order gives one table."""
        return (self.time, self.revision, self.event_id)


def newest(readings: Iterable[Reading]) -> list[Reading]:
    """The newest reading of each entity, whole: values are never mixed, so any order of arrival gives the same."""
    kept: dict[tuple[str, str], Reading] = {}
    for reading in readings:
        known = kept.get((reading.view, reading.entity))
        if known is None or known.rank() < reading.rank():
            kept[reading.view, reading.entity] = reading
    return list(kept.values())


def status_of(value: Scalar, found: Reading | None, ttl: timedelta | None, now: datetime) -> Status:
    """What an online answer says of one value."""
    if found is None:
        return "NOT_FOUND"
    if ttl is not None and now - found.time > ttl:
        return "OUTSIDE_MAX_AGE"
    return "PRESENT" if value is not None else "NULL_VALUE"


@dataclass(frozen=True, slots=True)
class FromView:
    """A feature that a view supplies."""

    view: str
    entity: str
    """The feature or join key whose value names the entity."""
    field: str
    max_age_us: int | None
    on_stale: Scalar


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rows of one dataset: what decides which, and how each column is filled."""

    model: str
    task: str
    features: dict[str, str]
    """Name to type, in declared order."""
    from_views: dict[str, FromView]
    since_us: int | None
    until_us: int
    ends: dict[tuple[str, int], int]
    """Per topic and partition the offset after the last row that counts."""
    max_rows: int | None


def plain(value: Any) -> Any:
    """A value of a JSON column; NaN is null."""
    return None if isinstance(value, float) and value != value else value


def fits(value: Scalar, kind: str) -> bool:
    """Whether a view's feature of this kind may have the value. Missing fits everywhere; a boolean is a number, 0 or 1."""
    if value is None:
        return True
    allowed: dict[str, type | tuple[type, ...]] = {
        "number": (int, float),
        "boolean": bool,
        "category": (str, int, bool),
    }
    return isinstance(value, allowed[kind])


def entity_text(value: Any) -> str:
    """An entity's name from a join key of any type: 1001 and 1001.0 are one driver."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
