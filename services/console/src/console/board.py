"""What the page shows: made from the control topics alone, bounded, and the same whatever order a replay comes in."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from console.curves import Curves
from driftloop.telling import told
from driftloop_contracts import AnyEvent, Fact
from driftloop_contracts.control_plane import (
    AliasMoved,
    AuditRecorded,
    CommandGiven,
    DeploymentChanged,
    MetricsLogged,
    ModelDeclared,
    ModelRetired,
    RunEnded,
    RunStarted,
    TagChanged,
    VersionRegistered,
)
from driftloop_contracts.loop import (
    CandidateTrained,
    DatasetRequested,
    DriftCleared,
    DriftDetected,
    MeasurementTaken,
    RetrainRequested,
    RollupClosed,
    TrainingFailed,
    TrainingStarted,
)

V = TypeVar("V")
MAX_STORY: Final = 200
MAX_TAIL: Final = 100
MAX_COMMANDS: Final = 1_000
MAX_MODELS: Final = 500
MAX_REQUESTS: Final = 100
# A year of a model's days is some 10,000 measurements; a repeat comes within minutes.
MAX_SEEN: Final = 80_000
# Only a chart, a dashboard or an auditor wants these: they would drown the tail.
QUIET: Final = (MeasurementTaken, RollupClosed, MetricsLogged, RunStarted, RunEnded, AuditRecorded)
# Steps between the events that a story is made of.
NOT_TOLD: Final = (DatasetRequested, TrainingStarted, VersionRegistered, AliasMoved, TagChanged)


@dataclass(frozen=True, slots=True)
class Line:
    """One event as people read it."""

    id: str
    recorded: datetime
    """The wall clock of its writer: the order in which things happened here. Nothing is decided by it."""
    time: datetime
    topic: str
    kind: str
    model: str
    words: str
    cause: str | None


@dataclass(slots=True)
class Model:
    """What is known of one model."""

    name: str
    owner: str = ""
    declared: bool = False
    retired: bool = False
    deployment: DeploymentChanged | None = None
    incidents: dict[str, DriftDetected] = field(default_factory=dict)
    requests: dict[str, bool] = field(default_factory=dict)
    """Id of each retrain request, and whether its training has ended."""
    curves: Curves = field(default_factory=Curves)
    story: list[Line] = field(default_factory=list)
    steps: dict[str, str] = field(default_factory=dict)
    """Ids of events that the story does not tell, to their causes."""

    @property
    def shown(self) -> bool:
        """Whether it is more than a name that somebody used."""
        return self.declared or self.retired or self.deployment is not None

    @property
    def training(self) -> bool:
        """A training was asked for and has not ended."""
        return not all(self.requests.values())

    def tell(self, line: Line) -> None:
        """The line stands in its place of the story; the oldest leaves when there are too many."""
        place_line(self.story, line, MAX_STORY)

    def step(self, line: Line) -> None:
        """The line is no part of the story, but something may follow from it."""
        if line.cause:
            remember(self.steps, line.id, line.cause, MAX_STORY)

    def request(self, request_id: str, ended: bool) -> None:
        """A training was asked for, or has ended: whichever is heard first."""
        remember(self.requests, request_id, ended or self.requests.get(request_id, False), MAX_REQUESTS)


class Board:
    """Hears every control event; grows no further than its bounds."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.tail: list[Line] = []
        """The newest last."""
        self.commands: dict[str, None] = {}
        self.answers: dict[str, Line] = {}
        """By the id of the command. An answer may be heard before its command: they travel on different topics."""
        self.seen: dict[str, None] = {}
        self.revision = 0
        """Grows with every event: whoever shows the board knows whether there is something new."""

    def hear(self, event: AnyEvent, topic: str) -> None:
        """The event is on the board. One that was heard before changes nothing: delivery is at least once."""
        if event.id in self.seen:
            return
        remember(self.seen, event.id, None, MAX_SEEN)
        self.revision += 1
        if isinstance(event.data, MeasurementTaken):
            self._model(event.data.model).curves.measure(event.data)
            return
        if isinstance(event.data, QUIET):
            return
        line = line_of(event, topic)
        place_line(self.tail, line, MAX_TAIL)
        self._answered(event, line)
        if hasattr(event.data, "model") and not line.model.startswith("view/"):
            self._changed(event, line, self._model(line.model))

    def answer(self, command_id: str) -> Line | None:
        """What followed from a command that was heard."""
        return self.answers.get(command_id) if command_id in self.commands else None

    def _model(self, name: str) -> Model:
        if name not in self.models and len(self.models) >= MAX_MODELS:
            # Anybody may use a name in a command; those leave before what was declared.
            del self.models[next((one.name for one in self.models.values() if not one.shown), next(iter(self.models)))]
        return self.models.setdefault(name, Model(name))

    def _answered(self, event: AnyEvent, line: Line) -> None:
        if isinstance(event.data, CommandGiven):
            remember(self.commands, event.id, None, MAX_COMMANDS)
        elif event.causation and event.causation not in self.answers:
            remember(self.answers, event.causation, line, MAX_COMMANDS)

    def _changed(self, event: AnyEvent, line: Line, model: Model) -> None:
        if isinstance(event.data, NOT_TOLD):
            model.step(line)
        else:
            model.tell(line)
        model.curves.mark(event)
        match event.data:
            case ModelDeclared(document=document):
                model.owner, model.declared, model.retired = document.owner, True, False
            case ModelRetired():
                model.retired = True
            case DeploymentChanged() if model.deployment is None or model.deployment.revision < event.data.revision:
                model.deployment = event.data
            case DriftDetected(incident=incident):
                model.incidents[incident] = event.data
            case DriftCleared(incident=incident):
                model.incidents.pop(incident, None)
            case RetrainRequested():
                model.request(event.id, ended=False)
            case CandidateTrained(request_id=request) | TrainingFailed(request_id=request):
                model.request(request, ended=True)


def line_of(event: AnyEvent, topic: str) -> Line:
    """The event as people read it."""
    fact: Fact = event.data
    return Line(
        event.id,
        event.recorded_at or event.time,
        event.time,
        topic,
        type(fact).__name__,
        fact.key(),
        told(fact),
        event.causation,
    )


def place_line(lines: list[Line], line: Line, most: int) -> None:
    """The lines are in the order in which they were recorded, `most` of them at most: the newest."""
    insort(lines, line, key=lambda one: (one.recorded, one.id))
    del lines[:-most]


def remember(kept: dict[str, V], name: str, value: V, most: int) -> None:
    """It is kept; what was kept longest leaves when there is too much."""
    kept[name] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
