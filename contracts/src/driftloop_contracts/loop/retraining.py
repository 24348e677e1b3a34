"""Learn it again, or why not: a slice of the log, a bar and a budget."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from driftloop_contracts.control_plane import LossToHold
from driftloop_contracts.event import Fact, Name, Part, Time


class OffsetRange(Part):
    """A piece of a partition: first offset, and the offset after the last."""

    topic: str
    partition: int = Field(ge=0)
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class TrainingWindow(Part):
    """A slice of the log."""

    since: Time | None = None
    until: Time
    min_rows: int = Field(default=1, ge=0)
    max_rows: int | None = Field(default=None, ge=1)
    offsets: list[OffsetRange] = Field(default_factory=list)


class Budget(Part):
    """What a training may cost."""

    max_cpu_s: float | None = None
    deadline: Time | None = None


class RetrainRequested(Fact):
    """Learn it again. It names a slice of the log and a bar, nothing more; exactly one training follows."""

    TYPE: ClassVar[str] = "driftloop.retrain.requested.v1"

    model: Name
    version: str | None = None
    """The incumbent; absent for a first training."""
    incident: str | None = None
    reason: str
    window: TrainingWindow
    loss_to_beat: LossToHold | None = None
    ceiling: LossToHold | None = None
    attempt: int = Field(default=1, ge=1)
    budget: Budget = Budget()


class RetrainSuppressed(Fact):
    """A retrain would have been asked for; the reason says why it was not."""

    TYPE: ClassVar[str] = "driftloop.retrain.suppressed.v1"

    model: Name
    version: str | None = None
    incident: str | None = None
    reason: str
