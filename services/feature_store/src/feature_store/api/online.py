"""What a Feast client asks of the online values, and the answer in its layout: one column a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

from driftloop_contracts.documents import ViewDeclaration, duration
from feature_store.domain import Reading, Scalar, entity_text, status_of

EPOCH: Final = "1970-01-01T00:00:00Z"
MAX_ROWS: Final = 1_000
Views = Mapping[str, ViewDeclaration]
References = Sequence[tuple[str, str]]
"""(view, feature), in the order of the request."""
Keys = dict[str, list[tuple[str, str]]]
"""Per view the (view, entity) of each requested row."""


class Unknown(Exception):  # a fact about a request
    """Something that is not there, by the class that Feast's client raises then."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name

    @classmethod
    def view(cls, name: str, project: str) -> Self:
        return cls(404, "FeatureViewNotFoundException", f"Feature view {name} does not exist in project {project}")


class Mistake(Exception):  # a fact about a request
    """A caller's mistake that Feast has no class for, in plain words."""


def references(
    features: Sequence[str] | None, service: str | None, known: Views, project: str, *, full: bool
) -> References:
    """The features that are meant. Raises Unknown or Mistake for what does not exist.

    full: names carry their view, so that two features may share one.
    """
    if service is not None:
        message = f"Feature service {service} does not exist in project {project}"
        raise Unknown(404, "FeatureServiceNotFoundException", message)
    if not features:
        raise Mistake("No features specified for retrieval")
    wanted = [_reference(one, known, project) for one in features]
    names = [feature for _, feature in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and (not full or len(set(wanted)) < len(wanted)):
        raise Unknown(422, "FeatureNameCollisionError", _collision(twice))
    return wanted


def entity_keys(entities: Mapping[str, Sequence[Any]], wanted: References, known: Views) -> Keys:
    """Whom the rows are about. Raises Mistake for a join key that is missing, and for columns of unequal length."""
    lengths = {name: len(column) for name, column in entities.items()}
    if len(set(lengths.values())) != 1 or not 0 < max(lengths.values()) <= MAX_ROWS:
        raise Mistake(f"entities must be columns of one length, 1 to {MAX_ROWS} rows; given {lengths}")
    keys: Keys = {}
    for view in dict.fromkeys(view for view, _ in wanted):
        key = known[view].entity
        if key not in entities or None in entities[key]:
            raise Mistake(f"Missing join key values for keys: ['{key}'] of view {view}; given are {sorted(entities)}")
        keys[view] = [(view, entity_text(value)) for value in entities[key]]
    return keys


def answer(
    entities: Mapping[str, Sequence[Any]], wanted: References, keys: Keys, known: Views,
    found: Mapping[tuple[str, str], Reading], now: datetime, *, full: bool,
) -> dict[str, Any]:  # fmt: skip
    """Join keys first, then the features as asked for; each with its lists over the rows in the order of the request."""
    joined = [name for name in entities if name in {known[view].entity for view in keys}]
    names = joined + [f"{view}__{name}" if full else name for view, name in wanted]
    columns = [_joined(entities[name]) for name in joined]
    columns += [_column(name, [found.get(key) for key in keys[view]], known[view], now) for view, name in wanted]
    return {"metadata": {"feature_names": names}, "results": columns}


def _reference(text: str, known: Views, project: str) -> tuple[str, str]:
    view, _, feature = text.partition(":")
    if view not in known:
        raise Unknown.view(view, project)
    if feature not in known[view].features:
        raise Mistake(f"Feature {feature} not found in projection {view}; it has {sorted(known[view].features)}")
    return view, feature


def _column(name: str, rows: Sequence[Reading | None], view: ViewDeclaration, now: datetime) -> dict[str, Any]:
    ttl = duration(view.ttl) if view.ttl else None
    values: list[Scalar] = [row.values.get(name) if row else None for row in rows]
    return {
        "values": values,
        "statuses": [status_of(value, row, ttl, now) for value, row in zip(values, rows, strict=True)],
        "event_timestamps": [_stamp(row.time) if row else EPOCH for row in rows],
    }


def _joined(column: Sequence[Any]) -> dict[str, Any]:
    n = len(column)
    return {"values": list(column), "statuses": ["PRESENT"] * n, "event_timestamps": [EPOCH] * n}


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _collision(names: list[str]) -> str:
    return (
        f"Duplicate features named {', '.join(names)} found.\nTo resolve this collision, either use the full feature "
        "name by setting 'full_feature_names=True', or ensure that the features in question have different names."
    )
