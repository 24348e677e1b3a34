"""What a training is given, what it may take, and how far a request is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

State = Literal["waiting", "gathering", "training", "trained", "failed"]

# The back-test is the last 28 windows of the training window: four weeks, so that each weekday counts four times.
BACKTEST_WINDOWS: Final = 28
# Beyond this a train function writes more than a model: refused, never loaded.
MAX_ARTIFACT_BYTES: Final = 512 * 1024 * 1024
TARGET: Final = "target"
ENDED: Final[tuple[State, ...]] = ("trained", "failed")
_ORDER: Final[tuple[State, ...]] = ("waiting", "gathering", "training", *ENDED)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one training may take."""

    timeout_s: float
    memory_mb: int
    """Beside what Python and our own libraries take before the rows are read."""


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that a training is given: the same training gives the same candidate, wherever it runs."""

    request_id: str
    model: str
    task: str
    entry: str
    features: dict[str, str]
    """Name to type, in declared order."""
    target: str
    params: dict[str, Any]
    seed: int
    dataset_digest: str
    boundary: str
    """RFC 3339. Rows whose outcome arrived after it, within the windows of the back-test, are the back-test."""
    window_s: int
    closes: str
    min_outcomes: int
    gate_loss: str
    trigger_loss: str
    slices: list[str]
    segment: str | None
    """The feature by which siblings are told apart in the reference."""
    incumbent_version: str | None
    incumbent_digest: str | None


def moved(state: State, wanted: State) -> State:
    """A request only moves forward: a late message never reopens what has ended."""
    return wanted if state not in ENDED and _ORDER.index(wanted) >= _ORDER.index(state) else state
