"""The loss of every version by window, and what happened meanwhile: what a chart needs, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from driftloop_contracts import AnyEvent
from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.loop import DriftDetected, MeasurementTaken, RetrainRequested

# Ten years of days; some weeks of hours.
MAX_POINTS: Final = 4_000
MAX_CURVES: Final = 60
MAX_MARKERS: Final = 200
LOSS: Final = "loss:"
FLOORS: Final = {"loss:last_24h_rate": "rate of the last 24 h", "loss:base_rate": "base rate"}
# Of the losses that are measured the gate's is shown; the first that there is.
SHOWN: Final = ("loss:log_loss", "loss:squared", "loss:brier")
MARKED: Final = {"first": "first", "promoted": "promoted", "rolled back": "rolled back"}

Points = dict[float, float]
"""End of the window in epoch seconds, to the mean."""


@dataclass(slots=True)
class Curves:
    """One model's."""

    points: dict[tuple[str, str], Points] = field(default_factory=dict)
    """By version and signal."""
    markers: dict[tuple[float, str], None] = field(default_factory=dict)
    """When, and in which word."""

    def measure(self, taken: MeasurementTaken) -> None:
        """One more point, where it is one of a loss; a window that is measured again moves its point."""
        if not taken.signal.startswith(LOSS):
            return
        curve = self.points.setdefault((taken.version, taken.signal), {})
        curve[taken.window_end.timestamp()] = taken.mean
        if len(curve) > MAX_POINTS:
            del curve[min(curve)]
        if len(self.points) > MAX_CURVES:
            del self.points[next(iter(self.points))]

    def mark(self, event: AnyEvent) -> None:
        """A vertical line, if it is an event that the curve should be read by."""
        word = marker_of(event.data)
        if word:
            self.markers[event.time.timestamp(), word] = None
            if len(self.markers) > MAX_MARKERS:
                del self.markers[min(self.markers)]

    def newest(self, version: str, signal: str) -> float | None:
        """The mean of the last window that was measured."""
        curve = self.points.get((version, signal))
        return curve[max(curve)] if curve else None

    def chart(self) -> dict[str, Any]:
        """The gate's loss of every version by window, the floors beside it, on one axis of times; and the markers."""
        signal = next((one for one in SHOWN if any(name == one for _, name in self.points)), SHOWN[0])
        lines = self._lines(signal)
        times = sorted({at for points in lines.values() for at in points})
        return {
            "signal": signal.removeprefix(LOSS).replace("_", " "),
            "times": times,
            "series": [{"label": name, "values": [points.get(at) for at in times]} for name, points in lines.items()],
            "markers": [{"at": at, "label": word} for at, word in sorted(self.markers)],
        }

    def _lines(self, signal: str) -> Mapping[str, Points]:
        versions = {f"version {version}": points for (version, name), points in self.points.items() if name == signal}
        floors: dict[str, Points] = {}
        for (_, name), points in self.points.items():
            if name in FLOORS:
                floors.setdefault(FLOORS[name], {}).update(points)
        return dict(sorted(versions.items(), key=lambda line: (len(line[0]), line[0]))) | floors


def marker_of(fact: Any) -> str | None:
    """What the curve is marked with, if at all. Faults of a pipeline are marked as such: their advice is another."""
    match fact:
        case DriftDetected():
            return "fault" if fact.kind == "schema" else "drift"
        case RetrainRequested():
            return "retrain"
        case DeploymentChanged():
            return MARKED.get(fact.reason)
    return None
