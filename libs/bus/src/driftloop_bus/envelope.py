"""CloudEvents attributes of a record: binary mode, `ce_*` headers beside a value that is the data alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from driftloop_bus.errors import BadMessage
from driftloop_bus.origin import first_position
from driftloop_bus.ports import Record
from driftloop_contracts import derived_id
from driftloop_contracts.topics import BY_NAME, FACTS, TOPICS

JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
_ARROW: Final = ARROW.encode()
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


_TRAVEL: Final = {topic.name: {fact.TYPE.encode(): fact.TYPE for fact in topic.events} for topic in TOPICS}
_KNOWN: Final = {kind.encode(): kind for kind in FACTS}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the headers of one record say; what they leave out is made up the same way by every reader."""

    id: str
    type: str
    time: datetime | None
    correlation: str | None
    tenant: str
    packed: bool


def open_envelope(record: Record) -> Envelope:
    """The attributes of the record.

    Without CloudEvents headers: only on a topic that is open to producers, with an id derived from the record's place, so
    two equal readings stay two. Raises BadMessage on anything else.
    """
    # Only what every reader needs is decoded: this runs for each event of a hot topic. A stranger's header may be null.
    given = dict(record.headers)
    try:
        kind = given.get("ce_type")
        identity, told = (
            _bare(record) if kind is None else ((given.get("ce_id") or b"").decode(), _travels(record, kind))
        )
        if not identity:
            raise BadMessage("a record with ce_type needs ce_id: it is the event's identity", at=record.position)
        time, correlation = given.get("ce_time"), given.get("ce_correlationid")
        return Envelope(
            id=identity,
            type=told,
            time=moment(time.decode(), record, "ce_time") if time else None,
            correlation=correlation.decode() if correlation else None,
            tenant=(given.get("ce_tenant") or b"").decode() or "default",
            packed=(given.get("content-type") or b"").startswith(_ARROW),
        )
    except UnicodeDecodeError as error:
        raise BadMessage("headers must be UTF-8", at=record.position) from error


def texts(record: Record) -> dict[str, str]:
    """Every header as text. Raises BadMessage when one is not UTF-8."""
    try:
        return {name: (value or b"").decode() for name, value in record.headers}
    except UnicodeDecodeError as error:
        raise BadMessage("headers must be UTF-8", at=record.position) from error


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


def _bare(record: Record) -> tuple[str, str]:
    """Id and type of a record without CloudEvents headers."""
    topic = BY_NAME.get(record.topic)
    if topic is None or not topic.open_to_producers or len(topic.events) != 1:
        raise BadMessage(f"{record.topic} needs CloudEvents headers (ce_type, ce_id); found none", at=record.position)
    return derived_id(str(first_position(record)), "bare"), topic.events[0].TYPE


def _travels(record: Record, kind: bytes) -> str:
    """The type as text. Topics outside the catalogue carry every known type."""
    allowed = _TRAVEL.get(record.topic, _KNOWN)
    if (found := allowed.get(kind)) is not None:
        return found
    if kind not in _KNOWN:
        raise BadMessage(f"unknown ce_type {kind!r}", at=record.position)
    raise BadMessage(
        f"{_KNOWN[kind]} does not travel on {record.topic}; allowed are {sorted(allowed.values())}", at=record.position
    )
