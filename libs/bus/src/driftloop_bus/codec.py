"""One event to one record and back."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import ValidationError

from driftloop_bus.envelope import JSON, moment, open_envelope, texts
from driftloop_bus.errors import BadMessage
from driftloop_bus.origin import first_logged_ms
from driftloop_bus.ports import Headers, Outgoing, Record
from driftloop_contracts import AnyEvent, Event, Fact, rfc3339, topic_for
from driftloop_contracts.data_plane import ObservationMade, OutcomeObserved, PredictionMade
from driftloop_contracts.topics import FACTS, MAX_VALUE_BYTES


def encode(event: AnyEvent, service: str, *, topic: str | None = None) -> Outgoing:
    """The event as the service may write it: on its topic, under its key, with its envelope in the headers.

    topic: only to repeat an event elsewhere, as for one model's orchestrator.
    Raises LookupError when the service may not write such a fact, ValueError above 512 KiB (claim check: put the bytes into
    the artifact store and send their digest).
    """
    name = topic or topic_for(type(event.data), service).name
    value = event.data.model_dump_json(exclude_none=True).encode()
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(
            f"{event.data.TYPE} of {event.data.key()} weighs {len(value)} bytes, allowed {MAX_VALUE_BYTES}"
        )
    return Outgoing(name, event.data.key().encode(), value, headers_of(event, service, JSON))


def headers_of(event: AnyEvent, service: str, content_type: str) -> Headers:
    """The envelope. `recordedat` is the writer's wall clock, for people; nothing is decided by it."""
    given = {
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_source": event.source or f"/services/{service}",
        "ce_type": event.data.TYPE,
        "ce_time": rfc3339(event.time),
        "ce_subject": event.data.subject(),
        "ce_dataschema": event.data.dataschema(),
        "ce_causationid": event.causation,
        "ce_correlationid": event.correlation,
        "ce_tenant": event.tenant,
        "ce_recordedat": rfc3339(event.recorded_at or datetime.now(UTC)),
        "traceparent": event.traceparent,
        "content-type": content_type,
    }
    return tuple((name, value.encode()) for name, value in given.items() if value is not None)


def decode(record: Record) -> AnyEvent:
    """The event that the record holds. Raises BadMessage, with the position, when it holds none."""
    envelope = open_envelope(record)
    if envelope.packed:
        raise BadMessage("a packed record holds many events: read it as a batch", at=record.position)
    data = _fact(FACTS[envelope.type], record)
    given = texts(record)
    recorded = given.get("ce_recordedat")
    return Event(
        id=envelope.id,
        time=event_time(data, envelope.time, record),
        data=data,
        causation=given.get("ce_causationid"),
        correlation=envelope.correlation,
        tenant=envelope.tenant,
        source=given.get("ce_source", ""),
        recorded_at=moment(recorded, record, "ce_recordedat") if recorded else None,
        traceparent=given.get("traceparent"),
    )


def event_time(data: Fact, header: datetime | None, record: Record) -> datetime:
    """When the fact became true: an outcome when it was observed, else what the header says, the body, the log."""
    match data:
        case OutcomeObserved():
            return data.observed_at
        case ObservationMade():
            return data.time
        case PredictionMade() if header is None and data.time is not None:
            return data.time
    return header or datetime.fromtimestamp(first_logged_ms(record) / 1000, UTC)


def _fact(kind: type[Fact], record: Record) -> Fact:
    if record.value is None:
        raise BadMessage("a tombstone holds no event", at=record.position)
    if len(record.value) > MAX_VALUE_BYTES:
        raise BadMessage(f"{len(record.value)} bytes, allowed are {MAX_VALUE_BYTES}", at=record.position)
    try:
        # Strict: text that looks like a number is a bug of its writer, and arrays must not read it another way.
        return kind.model_validate_json(record.value, extra="ignore", strict=True)
    except ValidationError as error:
        raise BadMessage(_first_reason(kind, error), at=record.position) from error


def _first_reason(kind: type[Fact], error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=True)[0]
    place = ".".join(str(part) for part in found["loc"]) or "the value"
    return f"{kind.__name__}: {place}: {found['msg']}, got {found['input']!r}"[:500]
