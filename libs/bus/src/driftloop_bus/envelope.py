"""CloudEvents attributes of a record: binary mode, `ce_*` headers beside a value that is the data alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from driftloop_bus.errors import BadMessage
from driftloop_bus.ports import Record
from driftloop_contracts import derived_id
from driftloop_contracts.topics import BY_NAME, FACTS

JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the headers of one record say; what they leave out is made up the same way by every reader."""

    id: str
    type: str
    time: datetime | None
    correlation: str | None
    tenant: str
    packed: bool
    given: dict[str, str]
    """Every header as it stands, for the attributes that are rarely read."""


def open_envelope(record: Record) -> Envelope:
    """The attributes of the record.

    Without CloudEvents headers: only on a topic that is open to producers, with an id derived from the record's place, so
    two equal readings stay two. Raises BadMessage on anything else.
    """
    given = _text(record)
    kind = given.get("ce_type")
    if kind is None:
        return _bare(record, given)
    if not (identity := given.get("ce_id")):
        raise BadMessage("a record with ce_type needs ce_id: it is the event's identity", at=record.position)
    _check_travels_here(record, kind)
    return _envelope(record, identity, kind, given)


def microseconds(moment: datetime) -> int:
    """Since 1970 in UTC."""
    return (moment - EPOCH) // _MICROSECOND


def moment_of(microseconds_since_1970: int) -> datetime:
    """The inverse of `microseconds`."""
    return EPOCH + timedelta(microseconds=int(microseconds_since_1970))


def moment(text: str, record: Record, name: str) -> datetime:
    """The time in RFC 3339 text. Raises BadMessage when it is none, or has no offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadMessage(f"{name} must be RFC 3339, got {text!r}", at=record.position) from error
    if found.tzinfo is None:
        raise BadMessage(f"{name} needs an offset such as Z, got {text!r}", at=record.position)
    return found


def _text(record: Record) -> dict[str, str]:
    try:
        return {name: value.decode() for name, value in record.headers if value is not None}
    except UnicodeDecodeError as error:
        raise BadMessage("headers must be UTF-8", at=record.position) from error


def _bare(record: Record, given: dict[str, str]) -> Envelope:
    topic = BY_NAME.get(record.topic)
    if topic is None or not topic.open_to_producers or len(topic.events) != 1:
        raise BadMessage(f"{record.topic} needs CloudEvents headers (ce_type, ce_id); found none", at=record.position)
    return _envelope(record, derived_id(str(record.position), "bare"), topic.events[0].TYPE, given)


def _envelope(record: Record, identity: str, kind: str, given: dict[str, str]) -> Envelope:
    time = given.get("ce_time")
    return Envelope(
        id=identity,
        type=kind,
        time=moment(time, record, "ce_time") if time else None,
        correlation=given.get("ce_correlationid"),
        tenant=given.get("ce_tenant") or "default",
        packed=given.get("content-type", JSON).partition(";")[0].strip() == ARROW,
        given=given,
    )


def _check_travels_here(record: Record, kind: str) -> None:
    if kind not in FACTS:
        raise BadMessage(f"unknown ce_type {kind!r}", at=record.position)
    topic = BY_NAME.get(record.topic)
    if topic is not None and kind not in {fact.TYPE for fact in topic.events}:
        allowed = sorted(fact.TYPE for fact in topic.events)
        raise BadMessage(f"{kind} does not travel on {record.topic}; allowed are {allowed}", at=record.position)
