"""What a model's declaration asks of its monitor, in this service's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from driftloop_detect import catalogue
from driftloop_detect.calendar import Calendar
from driftloop_detect.windows import WindowTrigger


@dataclass(frozen=True, slots=True)
class Rules:
    """One declaration's rules. Durations are microseconds of event time."""

    features: Mapping[str, str]
    """Name to type: number, category, boolean."""
    kept: tuple[str, ...]
    """Features whose values are kept with each prediction, to tell slices apart."""
    trigger_loss: str
    gate_loss: str
    window_us: int
    closes: str
    min_outcomes: int
    delta: float
    threshold: float
    expected_us: int
    """Within which an outcome is expected."""
    fresh_outcomes: int
    train_window_us: int | None
    cooldown_us: int
    max_per_day: int
    also_every_us: int | None
    margin: float
    """By how much a challenger must beat the champion, in the gate's loss."""
    floors: tuple[str, ...]
    slices: tuple[str, ...]
    unit_us: int
    """Rows of one unit of arrival are one piece of evidence."""
    segment: str | None
    """The category whose values are siblings: one that strays from the others is at fault."""
    max_age_us: Mapping[str, int]
    """View to the age beyond which its rows are stale."""

    @property
    def calendar(self) -> Calendar:
        """The windows of the trigger."""
        return Calendar.of(timedelta(microseconds=self.window_us), self.closes, self.min_outcomes)

    @property
    def units(self) -> Calendar:
        """The units of evidence of a look, counted from midnight UTC."""
        return Calendar.of(timedelta(microseconds=self.unit_us), "00:00Z", 1)

    @property
    def trigger(self) -> WindowTrigger:
        """River's detector with this declaration's settings."""
        return WindowTrigger(catalogue.spec("page_hinkley", delta=self.delta, threshold=self.threshold))
