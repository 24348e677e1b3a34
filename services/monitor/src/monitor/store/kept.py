"""States and events as JSON, and back."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from driftloop_contracts import AnyEvent, Event, Fact, rfc3339
from monitor.domain.state import ModelState
from monitor.ports import OutcomeRows

F = TypeVar("F", bound=Fact)
_STATES = msgspec.json.Decoder(ModelState)


def state_to_json(state: ModelState) -> str:
    """The state; unknown fields of a later version are ignored when it is read back."""
    return msgspec.json.encode(state).decode()


def state_from_json(text: str | bytes) -> ModelState:
    """The state that was kept."""
    return _STATES.decode(text)


def event_to_json(event: AnyEvent) -> str:
    """The whole event."""
    envelope: dict[str, Any] = {
        "id": event.id,
        "time": rfc3339(event.time),
        "causation": event.causation,
        "correlation": event.correlation,
        "tenant": event.tenant,
        "source": event.source,
        "recorded_at": rfc3339(event.recorded_at) if event.recorded_at else None,
        "data": event.data.model_dump(mode="json", exclude_none=True),
    }
    return json.dumps(envelope)


def event_from_json(fact: type[F], text: str) -> Event[F]:
    """The event that was kept."""
    kept = json.loads(text)
    data = fact.read(json.dumps(kept.pop("data")).encode())
    time, recorded = datetime.fromisoformat(kept.pop("time")), kept.pop("recorded_at")
    return Event(**kept, time=time, data=data, recorded_at=datetime.fromisoformat(recorded) if recorded else None)


def outcome_keys(rows: OutcomeRows) -> list[str]:
    """What each outcome is known by: its prediction's id, or entity and time."""
    return [
        prediction_id if prediction_id is not None else f"{entity}\x1f{time}"
        for prediction_id, entity, time in zip(
            rows.prediction_ids, rows.entities, rows.prediction_times_us.tolist(), strict=True
        )
    ]
