"""What serving counts, as Prometheus metrics."""

from __future__ import annotations

from driftloop_bus.observer import Note
from driftloop_kit.telemetry import Telemetry
from serving.ports import Counted


class PrometheusCounts:
    """Counts into the telemetry of the service, once it is there."""

    def __init__(self) -> None:
        self._telemetry: Telemetry | None = None
        self._early: list[Note] = []

    def into(self, telemetry: Telemetry) -> None:
        """From now on everything is counted there, and what was noted before it."""
        self._telemetry = telemetry
        for note in self._early:
            telemetry.note(note)
        self._early.clear()

    def note(self, note: Note) -> None:
        """What the spool saw."""
        if self._telemetry is None:
            self._early.append(note)
        else:
            self._telemetry.note(note)

    def add(self, what: Counted, model: str, why: str, n: int = 1) -> None:
        """n more of it; what a person may want to look into is logged too."""
        if self._telemetry is None:
            return
        self._telemetry.count("driftloop_serving", n, what, model, why)
        if what in ("loaded", "load_failed", "shadow_errors"):
            self._telemetry.log.info(what, model=model, why=why)

    def predicted(self, model: str, variant: str, rows: int, seconds: float) -> None:
        """So many rows were scored, in this time."""
        if self._telemetry is not None:
            self._telemetry.count("driftloop_predictions", rows, model, variant)
            self._telemetry.time("driftloop_prediction_seconds", seconds)

    def emitted(self, seconds: float) -> None:
        """The events of one tick were made and kept, in this time."""
        if self._telemetry is not None:
            self._telemetry.time("driftloop_emission_seconds", seconds)
