"""A small airport: weather readings, predictions of late flights, their outcomes; as events, batches and records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from driftloop_bus.batches import ObservationBatch
from driftloop_bus.codec import encode, headers_of
from driftloop_bus.envelope import ARROW
from driftloop_bus.packing import pack_columns
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.reading import read_batch
from driftloop_contracts import AnyEvent, Event, first
from driftloop_contracts.control_plane import ModelDeclared, ViewDeclared
from driftloop_contracts.data_plane import ObservationMade, OutcomeObserved, PredictionMade
from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration
from driftloop_contracts.loop import DatasetRequested
from driftloop_contracts.topics import OBSERVATIONS

START = datetime(2013, 1, 1, tzinfo=UTC)
MODEL = "lateness"


def at(hours: float) -> datetime:
    """So many hours after the start."""
    return START + timedelta(hours=hours)


def model(name: str = MODEL, view: str = "weather") -> ModelDeclaration:
    """x and site come from the caller, wind from the weather there."""
    wind = {"type": "number", "view": view, "entity": "site", "max_age": "4h", "on_stale": None}
    features = {"x": "number", "site": "category", "wind": wind}
    return ModelDeclaration.model_validate(
        {"model": name, "owner": "ops", "task": "binary", "features": features, "train": {"entry": "a:b"}}
    )


def view(name: str = "weather", **more: Any) -> ViewDeclaration:
    given: dict[str, Any] = {"view": name, "entity": "site", "features": {"wind": "number", "sky": "category"}}
    return ViewDeclaration.model_validate(given | {"push_source": f"{name}_push"} | more)


def model_declared(name: str = MODEL, view: str = "weather") -> Event[ModelDeclared]:
    fact = ModelDeclared(model=name, document=model(name, view), digest="sha256:m", applied_by="ops")
    return first(fact, id=f"declared {name}", time=START)


def view_declared(name: str = "weather", **more: Any) -> Event[ViewDeclared]:
    fact = ViewDeclared(view=name, document=view(name, **more), digest="sha256:v", applied_by="ops")
    return first(fact, id=f"declared {name}", time=START)


def observed(
    hours: float, wind: float | None, site: str = "EWR", *, name: str = "", **more: Any
) -> Event[ObservationMade]:
    fact = ObservationMade(view=more.pop("view", "weather"), entity=site, values={"wind": wind}, time=at(hours), **more)
    return first(fact, id=name or f"{fact.key()} {hours} {wind} {more}", time=at(hours))


def predicted(number: int, hours: float, *, model: str = MODEL, **more: Any) -> Event[PredictionMade]:
    """From before Driftloop, unless said otherwise."""
    given: dict[str, Any] = {"features": {"x": float(number), "site": "EWR"}, "variant": "history"}
    fact = PredictionMade(prediction_id=f"{model}/{number}", model=model, **given | more)
    return first(fact, id=f"{fact.prediction_id} asked", time=at(hours))


def came_true(number: int, hours: float, value: Any = 1, *, model: str = MODEL, **more: Any) -> Event[OutcomeObserved]:
    fact = OutcomeObserved(model=model, prediction_id=f"{model}/{number}", value=value, observed_at=at(hours), **more)
    return first(fact, id=f"{fact.prediction_id} came true {more}", time=at(hours))


def wanted(ends: dict[str, dict[int, int]], *, model: str = MODEL, name: str = "request") -> Event[DatasetRequested]:
    """A dataset of everything before these offsets."""
    offsets = [
        {"topic": topic, "partition": partition, "start": 0, "end": end}
        for topic, places in ends.items()
        for partition, end in places.items()
    ]
    fact = DatasetRequested.model_validate(
        {
            "model": model, "request_id": name, "features": ["x", "site", "wind"], "target": "target",
            "window": {"until": at(24 * 40), "offsets": offsets}, "split": {"holdout_windows": 28},
        }
    )  # fmt: skip
    return first(fact, id=f"{name} {model}", time=at(24 * 40))


def packed(events: Sequence[AnyEvent]) -> Outgoing:
    """Events of one key and one class as one record."""
    sample = events[0]
    columns: dict[str, list[Any]] = {}
    rows = [_flat(event) for event in events]
    for name in dict.fromkeys(name for row in rows for name in row):
        columns[name] = [row.get(name) for row in rows]
    topic = encode(sample, "outside").topic
    return Outgoing(topic, sample.data.key().encode(), pack_columns(columns), headers_of(sample, "outside", ARROW))


def alone(event: AnyEvent) -> Outgoing:
    """One event as one record, as an outsider sends it."""
    return encode(event, "outside")


def batch(*events: Event[ObservationMade]) -> ObservationBatch:
    """As the runner hands them over."""
    records = [
        Record(OBSERVATIONS.name, 0, offset, 0, made.key, made.value, made.headers)
        for offset, made in enumerate(alone(event) for event in events)
    ]
    read, bad = read_batch(records)
    assert not bad
    assert isinstance(read, ObservationBatch)
    return read


def _flat(event: AnyEvent) -> dict[str, Any]:
    data = json.loads(event.data.model_dump_json(exclude_none=True))
    dropped = ("model", "view", "shard") if not isinstance(event.data, ObservationMade) else ("view", "entity")
    row: dict[str, Any] = {"time": event.time}
    for name, value in data.items():
        if name in dropped or name in ("time", "observed_at"):
            continue
        if isinstance(value, dict):
            row |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            row[name] = value
    return row
