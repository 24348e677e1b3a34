"""What the page shows: made from the control topics alone, bounded, and the same after every replay."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from driftloop_contracts import AnyEvent
from driftloop_contracts.control_plane import CommandGiven, DeploymentChanged, ModelDeclared, ModelRetired
from driftloop_contracts.loop import (
    CandidateTrained,
    ChallengerJudged,
    DriftCleared,
    DriftDetected,
    MeasurementTaken,
    RetrainRequested,
)

# Enough for a year of days of three versions; older points leave first.
MAX_POINTS: Final = 4_000
MAX_STORY: Final = 200
MAX_TAIL: Final = 100
MAX_COMMANDS: Final = 1_000
MAX_MODELS: Final = 500
# Events that only a chart or an auditor wants: they would drown the tail.
QUIET: Final = (MeasurementTaken,)


@dataclass(frozen=True, slots=True)
class Line:
    """One event as people read it."""

    id: str
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
    deployment: DeploymentChanged | None = None
    incidents: dict[str, DriftDetected] = field(default_factory=dict)
    curves: dict[tuple[str, str], deque[tuple[float, float]]] = field(default_factory=dict)
    """(version, signal) to points of (end of the window in epoch seconds, mean)."""
    markers: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=MAX_STORY))
    story: deque[Line] = field(default_factory=lambda: deque(maxlen=MAX_STORY))


@dataclass(slots=True)
class Command:
    """A command and its answer, once there is one."""

    id: str
    command: str
    model: str
    answer: Line | None = None
    refused: bool = False


class Board:
    """Hears every control event; grows no further than its bounds."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.tail: deque[Line] = deque(maxlen=MAX_TAIL)
        self.commands: dict[str, Command] = {}
        self.seen: dict[str, None] = {}
        self.revision = 0
        """Grows with every event: whoever shows the board knows whether there is something new."""

    def hear(self, event: AnyEvent, topic: str) -> None:
        """The event is on the board. One that was heard before changes nothing: delivery is at least once."""
        if event.id in self.seen:
            return
        self.seen[event.id] = None
        if len(self.seen) > 20 * MAX_POINTS:
            del self.seen[next(iter(self.seen))]
        self.revision += 1
        if isinstance(event.data, MeasurementTaken):
            self._measured(event.data)
            return
        line = Line(
            event.id, event.time, topic, type(event.data).__name__, event.data.key(), words(event.data), event.causation
        )
        self.tail.appendleft(line)
        self._answered(event, line)
        self._changed(event, line)

    def _model(self, name: str) -> Model:
        if name not in self.models and len(self.models) >= MAX_MODELS:
            del self.models[next(iter(self.models))]
        return self.models.setdefault(name, Model(name))

    def _measured(self, taken: MeasurementTaken) -> None:
        curves = self._model(taken.model).curves
        points = curves.setdefault((taken.version, taken.signal), deque(maxlen=MAX_POINTS))
        points.append((taken.window_end.timestamp(), taken.mean))

    def _answered(self, event: AnyEvent, line: Line) -> None:
        if isinstance(event.data, CommandGiven):
            self.commands[event.id] = Command(event.id, event.data.command, event.data.model)
            if len(self.commands) > MAX_COMMANDS:
                del self.commands[next(iter(self.commands))]
            return
        asked = self.commands.get(event.causation or "")
        if asked is not None and asked.answer is None and line.topic != "audit.v1":
            asked.answer, asked.refused = line, line.kind == "CommandRefused"

    def _changed(self, event: AnyEvent, line: Line) -> None:
        data = event.data
        if not hasattr(data, "model") or line.topic in ("audit.v1", "rollups.v1", "runs.v1"):
            return
        model = self._model(data.model.removeprefix("view/"))
        model.story.append(line)
        match data:
            case ModelDeclared():
                model.owner = data.document.owner
            case ModelRetired():
                model.deployment = None
            case DeploymentChanged() if model.deployment is None or model.deployment.revision < data.revision:
                model.deployment = data
            case DriftDetected():
                model.incidents[data.incident] = data
            case DriftCleared():
                model.incidents.pop(data.incident, None)
        if marker := marker_of(data):
            model.markers.append((event.time.timestamp(), marker))


def marker_of(data: Any) -> str | None:
    """What the loss curve is marked with, if at all."""
    match data:
        case DriftDetected():
            return "drift"
        case RetrainRequested():
            return "retrain"
        case DeploymentChanged() if data.reason in ("promoted", "first", "rolled back"):
            return "promoted" if data.reason == "promoted" else data.reason
    return None


def words(data: Any) -> str:
    """The event in one line; its figures are its own."""
    match data:
        case DriftDetected():
            told = f"{data.kind.replace('_', ' ')} of version {data.version}: {data.signal.kind} {data.signal.name}"
            return f"{told}; {data.recommendation.action.replace('_', ' ')}: {data.recommendation.reason}"
        case CandidateTrained():
            gain = f", {data.gain:+.3f} against the incumbent on its back-test" if data.gain is not None else ""
            return f"{data.rows:,} rows in {data.cpu_s:.1f} s of CPU{gain}"
        case ChallengerJudged():
            told = f"version {data.version} {data.verdict} at look {data.look} of {data.of}"
            return f"{told}: gain {data.gain:+.3f}, lower bound {data.lower:+.3f}, {data.rows:,} outcomes"
        case DeploymentChanged():
            champion = data.champion.version if data.champion else "none"
            rivals = ", ".join(one.version for one in data.challengers)
            return f"{data.reason}: champion {champion}" + (f", challenger {rivals}" if rivals else "")
        case CommandGiven():
            return f"{data.given_by} asks to {data.command} {data.model}"
    for name in ("reason", "digest", "alias", "dataset_digest", "version"):
        if value := getattr(data, name, None):
            return str(value)
    return ""
