"""How a request becomes a training: what to gather, with which limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

State = Literal["waiting", "gathering", "training", "trained", "failed"]

# The back-test is the last 28 windows of the training window: four weeks, so that each weekday counts four times.
BACKTEST_WINDOWS: Final = 28
# Beyond this a train function writes more than a model: parked as refused, never loaded.
MAX_ARTIFACT_BYTES: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one training may take."""

    timeout_s: float
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that a training is given: the same training gives the same candidate, wherever it runs."""

    request_id: str
    model: str
    task: str
    entry: str
    features: dict[str, str]
    target: str
    params: dict[str, Any]
    seed: int
    dataset_digest: str
    boundary: datetime
    """Rows whose outcome arrived at or after it are the back-test."""
    window_s: int
    closes: str
    min_outcomes: int
    gate_loss: str
    trigger_loss: str
    slices: tuple[str, ...]
    incumbent_version: str | None
    incumbent_digest: str | None


def replaced(state: State, wanted: State) -> State:
    """A request only moves forward: a late message never reopens what has ended."""
    order: tuple[State, ...] = ("waiting", "gathering", "training", "trained", "failed")
    return wanted if order.index(wanted) >= order.index(state) and state not in ("trained", "failed") else state
