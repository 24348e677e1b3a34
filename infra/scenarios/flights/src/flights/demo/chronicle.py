"""What the circle said while the month was replayed: the control topics, kept whole and told as they come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from driftloop_bus.routes import Route, on_every
from driftloop_contracts import AnyEvent, Event, Fact
from driftloop_contracts.control_plane import CommandRefused, DeploymentChanged, PromotionRefused
from driftloop_contracts.loop import (
    CandidateTrained,
    ChallengerJudged,
    DriftDetected,
    MeasurementTaken,
    RetrainRequested,
    RetrainSuppressed,
    TrainingFailed,
)
from driftloop_contracts.topics import (
    CANDIDATES,
    DATASETS,
    DEPLOYMENTS,
    DRIFT,
    JUDGEMENTS,
    MEASUREMENTS,
    REGISTRY,
    RETRAINING,
)

TOPICS: Final = (DRIFT, RETRAINING, DATASETS, CANDIDATES, JUDGEMENTS, DEPLOYMENTS, REGISTRY, MEASUREMENTS)
F = TypeVar("F", bound=Fact)


@dataclass(frozen=True, slots=True)
class Point:
    """The mean of a signal over one closed window."""

    end: datetime
    n: int
    mean: float


@dataclass(slots=True)
class Chronicle:
    """Hears what the control topics say of one model; tells each new event in a line."""

    model: str
    tell: Callable[[str], None]
    events: dict[str, AnyEvent] = field(default_factory=dict)
    points: dict[tuple[str, str], dict[datetime, Point]] = field(default_factory=lambda: defaultdict(dict))
    """(version, signal) to points by the end of their window."""

    def routes(self) -> list[Route[Chronicle]]:
        """Every event of every topic."""
        return [on_every(topic, Chronicle.on_event) for topic in TOPICS]

    async def on_event(self, event: AnyEvent) -> None:
        """Kept; told if it is new."""
        if event.id in self.events or getattr(event.data, "model", None) != self.model:
            return
        if isinstance(event.data, MeasurementTaken):
            taken = event.data
            point = Point(taken.window_end, taken.n, taken.mean)
            self.points[taken.version, taken.signal][taken.window_end] = point
            return
        self.events[event.id] = event
        if words := told(event.data):
            self.tell(f"{event.time:%d %b %H:%M}  {words}")

    def answered(self) -> bool:
        """Whether every retrain request has its candidate, or its failure."""
        asked = {event.id for event in self.all(RetrainRequested)}
        ended = {event.data.request_id for event in self.all(CandidateTrained)}
        ended |= {event.data.request_id for event in self.all(TrainingFailed)}
        return asked <= ended

    def collecting(self) -> bool:
        """Whether an alarm of the labelled loss waits for enough outcomes to ask for a retrain."""
        alarms = {event.data.incident for event in self.all(DriftDetected) if event.data.kind == "concept_drift"}
        return bool(alarms - {event.data.incident for event in self.all(RetrainRequested)})

    def deployment(self) -> DeploymentChanged | None:
        """The newest deployment that was heard."""
        found = [event.data for event in self.all(DeploymentChanged)]
        return max(found, key=lambda one: one.revision) if found else None

    def all(self, kind: type[F]) -> list[Event[F]]:
        """The events of a type, by time."""
        found: list[Event[Any]] = [event for event in self.events.values() if isinstance(event.data, kind)]
        return sorted(found, key=lambda event: (event.time, event.id))

    def loss(self, version: str, signal: str, since: datetime, until: datetime) -> tuple[float, int] | None:
        """Mean and rows of a signal over the windows that lie in (since, until]; None without one."""
        points = [point for point in self.points[version, signal].values() if since < point.end <= until]
        rows = sum(point.n for point in points)
        return (sum(point.mean * point.n for point in points) / rows, rows) if rows else None


def told(data: Fact) -> str:
    """The event in one line, its figures its own; empty for what needs no word."""
    match data:
        case DriftDetected():
            moved = (
                f": {data.effects[0].name} {data.effects[0].before:.3f} → {data.effects[0].after:.3f}"
                if data.effects
                else ""
            )
            what = f"{data.signal.kind} {data.signal.name}, version {data.version}"
            return f"[red]ALARM[/] {what}{moved} ({data.recommendation.action})"
        case RetrainRequested():
            return f"[cyan]RETRAIN[/] asked for: {data.reason}"
        case RetrainSuppressed():
            return f"no retrain: {data.reason}"
        case CandidateTrained():
            gain = f", {data.gain:+.3f} against the incumbent on its back-test" if data.gain is not None else ""
            return f"[cyan]CANDIDATE[/] learnt {data.rows:,} rows in {data.cpu_s:.1f} s of CPU{gain}"
        case TrainingFailed():
            return f"[red]TRAINING FAILED[/] ({data.kind}): {data.reason}"
        case ChallengerJudged():
            floors = "".join(f", floor {name} {loss:.3f}" for name, loss in data.floors.items())
            return (
                f"[yellow]GATE[/] look {data.look} of {data.of}: version {data.version} gains {data.gain:+.3f}, lower bound "
                f"{data.lower:+.3f} on {data.rows:,} outcomes; losses {data.champion_loss:.3f} → {data.challenger_loss:.3f}{floors}"
            )
        case PromotionRefused():
            return f"[yellow]REFUSED[/] version {data.version}: {data.reason}"
        case CommandRefused():
            return f"[red]refused[/] {data.command}: {data.reason}"
        case DeploymentChanged() if data.reason == "first" and data.champion:
            return f"[green]SERVING[/] version {data.champion.version}, the first"
        case DeploymentChanged() if data.reason == "challenger":
            return f"[green]SHADOW[/] version {', '.join(one.version for one in data.challengers)} answers nobody and is scored"
        case DeploymentChanged() if data.reason == "promoted" and data.champion:
            return f"[green]PROMOTED[/] version {data.champion.version} answers"
    return ""
