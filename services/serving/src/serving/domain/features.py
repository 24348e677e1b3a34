"""What a request must bring, and what the models see of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

Scalar = bool | int | float | str | None
FeatureType = Literal["number", "category", "boolean"]
Reason = Literal["no_entity", "absent", "stale", "future", "ill_typed"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A feature's type and, where a view supplies it, how."""

    name: str
    type: FeatureType
    view: str | None = None
    entity: str = ""
    """The feature or join key whose value names the view's entity."""
    field: str = ""
    max_age_us: int | None = None
    on_stale: Scalar = None


@dataclass(frozen=True)
class Promise:
    """What a declaration says of the requests of its model."""

    rules: tuple[Rule, ...]
    segments: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Rule]:
        """Every declared feature."""
        return {rule.name: rule for rule in self.rules}

    @cached_property
    def from_caller(self) -> tuple[Rule, ...]:
        """What a request must bring."""
        return tuple(rule for rule in self.rules if rule.view is None)

    @cached_property
    def from_views(self) -> tuple[Rule, ...]:
        """What a request may bring; the view's value stands in."""
        return tuple(rule for rule in self.rules if rule.view is not None)


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest known values of one entity of a view."""

    values: Mapping[str, Scalar]
    time_us: int
    revision: int

    def replaces(self, other: Reading | None) -> bool:
        """Whether it is at least as new. Of equals the later in the log wins: its writer has decided."""
        return other is None or (self.time_us, self.revision) >= (other.time_us, other.revision)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one feature of a request: kinds only, so that no payload comes back in an error."""

    feature: str
    given: str
    expected: str

    def __str__(self) -> str:
        return f"{self.feature}: given {self.given}, declared {self.expected}"


@dataclass(slots=True)
class Seen:
    """One row as the models see it, with the times of the view rows that were used."""

    values: dict[str, Scalar]
    feature_times_us: dict[str, int] = field(default_factory=dict)
    set_aside: list[tuple[str, Reason]] = field(default_factory=list)
    """Features of views for which `on_stale` stood in, and why."""


# Beyond this an int is no float64 any more.
LARGEST: Final = 2**1023


def kind_of(value: object) -> str:
    """In the words of a JSON document, for the person who sent it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number" if _finite(value) else "a number that is not finite"
        case list():
            return "a list"
    return "an object"


def fits(value: object, kind: FeatureType) -> bool:
    """Whether the value may stand for a feature of this type. null is a missing one and always fits."""
    return value is None or _FITS[kind](value)


def faults(promise: Promise, given: Mapping[str, Any]) -> list[Fault]:
    """Every feature that is missing, unknown or of another type than declared, in declared order."""
    found = [
        Fault(rule.name, kind_of(given[rule.name]) if rule.name in given else "nothing", rule.type)
        for rule in promise.rules
        if (rule.view is None and rule.name not in given) or not fits(given.get(rule.name), rule.type)
    ]
    unknown = [name for name in given if name not in promise.by_name]
    return found + [Fault(name, kind_of(given[name]), "nowhere") for name in unknown]


def see(
    promise: Promise,
    given: Mapping[str, Any],
    keys: Mapping[str, Any],
    online: Callable[[str, str], Reading | None],
    at_us: int,
) -> Seen:
    """The row in declared order, features of views filled from what was known at `at_us`.

    given: free of faults. online: the newest reading of (view, entity). A reading from after `at_us` is never used.
    """
    seen = Seen({rule.name: given.get(rule.name) for rule in promise.rules})
    for rule in promise.from_views:
        if rule.name in given:
            continue
        reading, reason = _reading(rule, given, keys, online, at_us)
        if reading is None or reason is not None:
            seen.values[rule.name] = rule.on_stale
            seen.set_aside.append((rule.name, reason or "absent"))
            continue
        seen.values[rule.name] = reading.values[rule.field]
        view = str(rule.view)
        seen.feature_times_us[view] = max(reading.time_us, seen.feature_times_us.get(view, reading.time_us))
    return seen


def _reading(
    rule: Rule,
    given: Mapping[str, Any],
    keys: Mapping[str, Any],
    online: Callable[[str, str], Reading | None],
    at_us: int,
) -> tuple[Reading | None, Reason | None]:
    """The reading that supplies the feature, or why there is none that may be used."""
    entity = given.get(rule.entity, keys.get(rule.entity))
    if entity is None:
        return None, "no_entity"
    reading = online(str(rule.view), str(entity))
    if reading is None or rule.field not in reading.values:
        return None, "absent"
    age_us = at_us - reading.time_us
    if age_us < 0:
        return reading, "future"
    if rule.max_age_us is not None and age_us > rule.max_age_us:
        return reading, "stale"
    return reading, None if fits(reading.values[rule.field], rule.type) else "ill_typed"


def columns(rows: Sequence[Seen], features: Sequence[str]) -> dict[str, list[Scalar]]:
    """The rows as columns, in the model's order. A feature that is declared no longer is missing everywhere."""
    return {name: [row.values.get(name) for row in rows] for name in features}


def segment(promise: Promise, seen: Seen) -> dict[str, Scalar]:
    """The values of the declared segments."""
    return {name: seen.values.get(name) for name in promise.segments}


def _finite(value: float) -> bool:
    return abs(value) < LARGEST if isinstance(value, int) else math.isfinite(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


def _is_category(value: object) -> bool:
    return isinstance(value, str | int)


# Looked up, not matched: this is asked of every feature of every request.
_FITS: Final[dict[FeatureType, Callable[[object], bool]]] = {
    "number": _is_number,
    "boolean": _is_boolean,
    "category": _is_category,
}
