"""Summaries of what was seen: of a block of rows, and of a window of the display."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from driftloop_contracts.event import Fact, Name, Time


class MeasurementTaken(Fact):
    """A summary of one block of rows: low in rate, lossy, rebuilt by replay."""

    TYPE: ClassVar[str] = "driftloop.measurement.taken.v1"

    model: Name
    version: str
    signal: str
    """loss:brier, loss:log_loss, rows, latency_ms, null:<feature>, ..."""
    n: int = Field(ge=0)
    mean: float
    minimum: float | None = None
    maximum: float | None = None
    window_start: Time
    window_end: Time


class RollupClosed(Fact):
    """Measurements of one signal, summed over a window of the display."""

    TYPE: ClassVar[str] = "driftloop.rollup.closed.v1"

    model: Name
    version: str
    signal: str
    width_s: int = Field(ge=1)
    window_start: Time
    n: int = Field(ge=0)
    mean: float
