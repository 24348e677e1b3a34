"""A small world: a model whose outcomes come in days, its predictions and outcomes as the log holds them, and a monitor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from driftloop_bus.batches import OutcomeBatch, PredictionBatch
from driftloop_bus.codec import encode
from driftloop_bus.ports import Record
from driftloop_bus.reading import read_batch
from driftloop_contracts import AnyEvent, Event, Fact, first
from driftloop_contracts.control_plane import (
    Challenger,
    CommandGiven,
    DeploymentChanged,
    LossToHold,
    ModelDeclared,
    PreviousVersion,
    ServedVersion,
    WindowLoss,
)
from driftloop_contracts.data_plane import OutcomeObserved, PredictionMade
from driftloop_contracts.documents import ModelDeclaration
from monitor.handlers import Monitor
from monitor.notes import Notes
from monitor.silence import Ends
from monitor.store.memory import MemoryDocuments, MemoryPositions, MemoryRows, MemoryStates
from monitor.store.memory_features import MemoryBlocks, MemoryReferences, MemoryTallies
from monitor.store.shelf import Shelf

MODEL = "late"
START = datetime(2013, 6, 15, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def at(days: float) -> datetime:
    """So many days after the start."""
    return START + timedelta(days=days)


def declaration(**changes: Any) -> ModelDeclaration:
    """A binary model with daily windows; keywords replace whole sections."""
    document: dict[str, Any] = {
        "model": MODEL,
        "owner": "ops",
        "task": "binary",
        "features": {"x": "number", "site": "category"},
        "segments": ["site"],
        "outcome": {"expected_within": "36h", "loss": "log_loss"},
        "train": {"entry": "late.train:train"},
        "monitor": {"trigger": {"loss": "brier", "window": "1d", "closes": "09:00Z", "min_outcomes": 40}},
        "retrain": {"fresh_outcomes": 250, "cooldown": "1d", "max_per_day": 4},
        "gate": {"floors": ["last_24h_rate"], "slices": ["site"]},
    }
    return ModelDeclaration.model_validate(document | changes)


def declared(document: ModelDeclaration | None = None, at_days: float = -1.0) -> Event[ModelDeclared]:
    """The declaration holds."""
    data = ModelDeclared(model=MODEL, document=document or declaration(), digest="sha256:d", applied_by="ada")
    return first(data, id=f"declared-{at_days}", time=at(at_days))


def loss_to_hold(mean: float = 0.18, spread: float = 0.01, windows: int = 28, loss: str = "brier") -> LossToHold:
    """A back-test of so many days before the start."""
    closes = [at(-i) + 9 * HOUR for i in range(windows, 0, -1)]
    means = [mean + spread * math.sin(1.7 * i) for i in range(windows)]
    held = [WindowLoss(close=close, mean=value, n=200) for close, value in zip(closes, means, strict=True)]
    return LossToHold(loss=loss, n=200 * windows, mean=mean, windows=held)


def served(version: str, since_days: float, bar: LossToHold | None = None) -> ServedVersion:
    """A version that answers from then on."""
    return ServedVersion(
        version=version, artifact_digest=f"sha256:{version}", artifact_format="table", features={"x": "number"},
        since=at(since_days), loss_to_hold=bar,
    )  # fmt: skip


def deployed(
    revision: int, champion: ServedVersion | None, at_days: float, challenger: Challenger | None = None,
    previous: PreviousVersion | None = None, *, frozen: bool = False, reason: str = "first",
) -> Event[DeploymentChanged]:  # fmt: skip
    """What answers now."""
    data = DeploymentChanged(
        model=MODEL, revision=revision, champion=champion, challengers=[challenger] if challenger else [],
        previous=previous, reason=reason, frozen=frozen,
    )  # fmt: skip
    return first(data, id=f"deployment-{revision}", time=at(at_days))


def challenger(version: str, since_days: float, looks: Sequence[float] = (7, 14)) -> Challenger:
    """A shadow from then on, looked at after so many days."""
    return Challenger(
        **served(version, since_days).model_dump(), mode="shadow", looks=[at(since_days + look) for look in looks],
        candidate=f"candidate-{version}",
    )  # fmt: skip


def command(name: str = "retrain", until_days: float | None = 0.0, **more: Any) -> Event[CommandGiven]:
    """A person asks."""
    until = None if until_days is None else at(until_days)
    data = CommandGiven(command=name, model=MODEL, given_by="ada", until=until, **more)
    return Event(id=f"command-{name}", time=at(0), data=data, correlation=f"command-{name}", recorded_at=at(0))


@dataclass(frozen=True, slots=True)
class Day:
    """How one day goes: each version's probability for a row that will be late, and the share that is."""

    rate: float = 0.3
    skill: dict[str, float] = field(default_factory=lambda: {"1": 0.5})
    """0: knows the rate alone; 1: knows the outcome; below 0: holds the opposite for true."""


def day_events(number: int, day: Day, rows: int = 100, delay: timedelta = 5 * HOUR) -> list[AnyEvent]:
    """One day's predictions of each version and the outcomes, in the order of their times."""
    random = np.random.default_rng(number)
    events: list[AnyEvent] = []
    for row in range(rows):
        late = bool(random.random() < day.rate)
        time = at(number + row / rows)
        key, site = f"p-{number}-{row}", "EWR" if row % 2 else "JFK"
        for place, (version, skill) in enumerate(day.skill.items()):
            score = float(np.clip(day.rate + skill * ((1.0 if late else 0.0) - day.rate), 0.01, 0.99))
            data = PredictionMade(
                prediction_id=key, model=MODEL, version=version, variant="champion" if place == 0 else "shadow",
                features={"x": float(row), "site": site}, score=score, entity=key, latency_ms=1.0,
            )  # fmt: skip
            events.append(first(data, id=f"{key}-{version}", time=time))
        seen = time + delay + timedelta(seconds=row % 7)
        outcome = OutcomeObserved(model=MODEL, prediction_id=key, value=late, observed_at=seen)
        events.append(first(outcome, id=f"o-{number}-{row}", time=seen))
    return sorted(events, key=lambda event: event.time)


def days(count: int, day: Callable[[int], Day], start: int = 0, **more: Any) -> list[AnyEvent]:
    """So many days, in the order of their times."""
    events = [event for number in range(start, start + count) for event in day_events(number, day(number), **more)]
    return sorted(events, key=lambda event: event.time)


class AWatchedWorld:
    """A monitor on a memory store, fed as the runner would feed it."""

    def __init__(self, monitor: Callable[[AWatchedWorld], Monitor] | None = None) -> None:
        self.store: dict[Any, Any] = {}
        self.notes = Notes()
        self.silence = Ends()
        self.shelf = Shelf()
        self.offsets: dict[tuple[str, int], int] = {}
        self.ready = True
        self.said: list[AnyEvent] = []
        self._monitor = monitor or in_memory

    def declared(self, positions: object) -> bool:
        """Whether what was declared before the start has been read."""
        return self.ready

    @property
    def monitor(self) -> Monitor:
        """The handlers of one transaction."""
        return self._monitor(self)

    async def hear(self, *events: AnyEvent) -> list[AnyEvent]:
        """Control events, one by one."""
        routes = {
            "ModelDeclared": "on_model_declared", "DeploymentChanged": "on_deployment_changed", "CommandGiven": "on_command",
            "CandidateTrained": "on_candidate_trained", "TrainingFailed": "on_training_failed",
            "ModelRetired": "on_model_retired",
        }  # fmt: skip
        followed: list[AnyEvent] = []
        for event in events:
            followed += await getattr(self.monitor, routes[type(event.data).__name__])(event)
        self.said += followed
        return followed

    async def read(self, events: Iterable[AnyEvent], poll: int = 500) -> list[AnyEvent]:
        """Data events, in polls of so many, each cut into a batch a topic."""
        given, followed = list(events), []
        for start in range(0, len(given), poll):
            for batch in self.batches(given[start : start + poll]):
                followed += await self.take(batch)
        self.said += followed
        return followed

    async def take(self, batch: PredictionBatch | OutcomeBatch) -> list[AnyEvent]:
        """One batch, as one transaction."""
        if isinstance(batch, PredictionBatch):
            return await self.monitor.on_predictions(batch)
        return await self.monitor.on_outcomes(batch)

    def batches(self, events: Sequence[AnyEvent]) -> list[PredictionBatch | OutcomeBatch]:
        """The events as the next records of their topics."""
        made = []
        for service in ("serving", "outside"):
            of_topic = [e for e in events if isinstance(e.data, PredictionMade) == (service == "serving")]
            if of_topic:
                made.append(self._batch(of_topic, service))
        return made

    def _batch(self, events: Sequence[AnyEvent], service: str) -> PredictionBatch | OutcomeBatch:
        records = []
        for event in events:
            out = encode(event, service)
            offset = self.offsets.get((out.topic, 0), 0)
            records.append(Record(out.topic, 0, offset, 0, out.key, out.value, out.headers))
            self.offsets[out.topic, 0] = offset + 1
        batch, bad = read_batch(records)
        assert not bad
        assert isinstance(batch, PredictionBatch | OutcomeBatch)
        return batch


def in_memory(world: AWatchedWorld) -> Monitor:
    """A monitor on the world's dict."""
    return Monitor(
        MemoryStates(world.store), MemoryRows(world.store), MemoryDocuments(world.store), MemoryPositions(world.offsets),
        MemoryBlocks(world.store), MemoryTallies(world.store), MemoryReferences(world.store, world.shelf),
        world, world.silence, world.notes,
    )  # fmt: skip


def of(kind: type[Fact], events: Iterable[AnyEvent]) -> list[Any]:
    """The events that say this kind of fact."""
    return [event for event in events if isinstance(event.data, kind)]
