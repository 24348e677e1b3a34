"""One number of one version, over a piece of event time."""

from __future__ import annotations

from dataclasses import dataclass

from driftloop_contracts import Cause, Event, caused
from driftloop_contracts.loop import MeasurementTaken
from monitor.handlers.heard import moment_of


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of event time that was measured."""

    since_us: int
    until_us: int


def measured(
    cause: Cause, model: str, version: str, signal: str, span: Span, n: int, mean: float,
    minimum: float | None = None, maximum: float | None = None,
) -> Event[MeasurementTaken]:  # fmt: skip
    """One number of one version, over the span."""
    data = MeasurementTaken(
        model=model, version=version, signal=signal, n=n, mean=mean, minimum=minimum, maximum=maximum,
        window_start=moment_of(span.since_us), window_end=moment_of(span.until_us),
    )  # fmt: skip
    return caused(data, cause, f"{version}:{signal}:{span.until_us}", time=moment_of(span.until_us))
