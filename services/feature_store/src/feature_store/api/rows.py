"""The rows of a data frame that a Feast client sends, as the observations that they are."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from driftloop_contracts import derived_id, first
from driftloop_contracts.data_plane import ObservationMade
from driftloop_contracts.documents import ViewDeclaration
from driftloop_contracts.event import Event
from feature_store.api.online import MAX_ROWS, Mistake
from feature_store.domain import Scalar, entity_text, fits, plain

Columns = dict[str, list[Any]]
NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)


def rows_of(view: ViewDeclaration, df: Columns) -> list[Event[ObservationMade]]:
    """One observation a row. Raises Mistake, saying what is missing or odd, when any does not fit."""
    lengths = {name: len(column) for name, column in df.items()}
    if len(set(lengths.values())) != 1 or not 0 < max(lengths.values()) <= MAX_ROWS:
        raise Mistake(f"df must have columns of one length, 1 to {MAX_ROWS} rows; given {lengths}")
    needed = [view.entity, "event_timestamp", *view.features]
    if missing := [name for name in needed if name not in df]:
        raise Mistake(f"df has no column {', '.join(missing)}; view {view.view} needs {', '.join(needed)}")
    return [_row(view, {name: plain(column[at]) for name, column in df.items()}) for at in range(lengths[view.entity])]


def _row(view: ViewDeclaration, row: dict[str, Scalar]) -> Event[ObservationMade]:
    values = {name: _value(row[name], name, kind) for name, kind in view.features.items()}
    if row[view.entity] is None or "\x00" in str(row[view.entity]):
        raise Mistake(f"the join key {view.entity} is missing in a row, or holds a NUL")
    time, entity = _moment(row["event_timestamp"], "event_timestamp"), entity_text(row[view.entity])
    created = None if row.get("created") is None else _moment(row["created"], "created")
    try:
        fact = ObservationMade(view=view.view, entity=entity, values=values, time=time)
    except ValidationError as odd:
        found = odd.errors(include_url=False, include_input=False)[0]
        raise Mistake(f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}") from odd
    return first(fact, id=_identity(fact, created), time=time)


def _identity(fact: ObservationMade, created: datetime | None) -> str:
    """Equal rows are one observation; of rows of one time the greater `created` has the greater id, and so wins."""
    digest = hashlib.sha256(json.dumps(fact.values, sort_keys=True).encode()).hexdigest()
    identity = derived_id(fact.key(), f"{fact.time.isoformat()} {created and created.isoformat()} {digest}")
    return f"{(created or NEVER).isoformat(timespec='microseconds')} {identity}"


def _value(value: Scalar, name: str, kind: str) -> Scalar:
    if not fits(value, kind):
        raise Mistake(f"feature {name} is declared a {kind}, got {value!r:.80}")
    return value


def _moment(value: Scalar, name: str) -> datetime:
    if not isinstance(value, str):
        raise Mistake(f"{name} must be ISO 8601 text, got {value!r:.80}")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as odd:
        raise Mistake(f"{name} must be ISO 8601 text, got {value!r:.80}") from odd
    # Naive times are UTC: so the client writes them.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
