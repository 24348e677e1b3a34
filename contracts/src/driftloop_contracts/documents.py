"""The two documents that a team applies: a model's declaration and a view's.

They travel whole on `declarations.v1`. Unknown keys and impossible combinations are refused here, in words that say what
was allowed; the registry refuses with the same words, so nobody can go round the command line.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from driftloop_contracts.event import Name, Part, Scalar

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DAY: Final = timedelta(days=1)
# A century: beyond it dates end, and nobody means it.
LONGEST: Final = 36_500 * _DAY


def duration(text: str) -> timedelta:
    """`90s`, `10m`, `4h`, `1d` as a timedelta. Raises ValueError with what is allowed."""
    found = re.fullmatch(r"([0-9]{1,12})([smhd])", text)
    if not found:
        raise ValueError(f"{text!r} is no duration: write a number and one of s, m, h, d, such as 36h")
    seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text!r} is too long: at most {LONGEST.days}d")
    return timedelta(seconds=seconds)


def _checked_duration(text: str) -> str:
    duration(text)
    return text


def _checked_length(text: str) -> str:
    if not duration(text):
        raise ValueError(f"{text!r} is no time at all: write a number above 0")
    return text


def _checked_window(text: str) -> str:
    """As `driftloop_detect.calendar.Calendar` has windows: the monitor could close no others."""
    length = duration(_checked_length(text))
    if _DAY % length and length % _DAY:
        raise ValueError(
            f"{text!r} is no window: write one that divides the day, or a number of days, such as 6h or 1d"
        )
    return text


def _checked_training_window(text: str) -> str:
    if text != "all" and not re.fullmatch(r"[0-9]+[smhd]", text):
        raise ValueError(f"{text!r} is no training window: write all, or a duration such as 90d")
    return text if text == "all" else _checked_length(text)


Duration = Annotated[str, AfterValidator(_checked_duration)]
Length = Annotated[str, AfterValidator(_checked_length)]
"""A duration above 0."""
WindowLength = Annotated[str, AfterValidator(_checked_window)]
TrainingSpan = Annotated[str, AfterValidator(_checked_training_window)]
FeatureType = Literal["number", "category", "boolean"]


class Feature(Part):
    """A feature's type, and where it comes from if not from the caller."""

    type: FeatureType
    view: Name | None = None
    entity: str | None = None
    """The feature or join key whose value names the entity of the view."""
    field: str | None = None
    """The view's name for it, where it differs."""
    max_age: Duration | None = None
    on_stale: Scalar = None

    @model_validator(mode="after")
    def _view_and_entity_go_together(self) -> Self:
        if (self.view is None) != (self.entity is None):
            raise ValueError("a feature from a view names both `view` and `entity`; one from the caller names neither")
        if self.view is None and (self.max_age or self.field):
            raise ValueError("`max_age` and `field` belong to features that name a `view`")
        return self


def _short_form(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class OutcomeRule(Part):
    """When an outcome is expected, and the loss that judges a prediction by it."""

    expected_within: Duration = "30d"
    loss: Literal["log_loss", "brier", "squared"] = "log_loss"


class TrainRule(Part):
    """The training entry point and its limits."""

    entry: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    timeout: Length = "10m"
    memory_mb: int = Field(default=4096, ge=256)
    seed: int = Field(default=7, ge=0)
    params: dict[str, Scalar] = Field(default_factory=dict)


class Trigger(Part):
    """River's detector on the labelled loss of closed event-time windows."""

    detector: Literal["page_hinkley"] = "page_hinkley"
    loss: Literal["brier", "log_loss", "squared"] = "brier"
    window: WindowLength = "1d"
    closes: str = Field(default="00:00Z", pattern=r"^([01]\d|2[0-3]):[0-5]\dZ$")
    min_outcomes: int = Field(default=200, ge=1)
    delta: float = Field(default=0.75, ge=0)
    threshold: float = Field(default=5.0, gt=0)


class MonitorRule(Part):
    """What is watched."""

    trigger: Trigger = Trigger()
    false_incidents_per_month: float = Field(default=1.0, gt=0)
    explain: Literal["all", "none"] = "all"


class RetrainRule(Part):
    """When enough of a new world has been seen to learn it."""

    fresh_outcomes: int = Field(default=2000, ge=1)
    window: TrainingSpan = "all"
    cooldown: Duration = "1d"
    max_per_day: int = Field(default=4, ge=1)
    on_input_drift: bool = False
    also_every: Length | None = None


class Gate(Part):
    """Which evidence opens which share of traffic."""

    must_beat_incumbent_by: float = 0.0
    floors: list[Literal["last_24h_rate"]] = Field(default_factory=list)
    slices: list[str] = Field(default_factory=list)
    max_latency_ms: float | None = Field(default=None, gt=0)
    approval: Literal["none", "required"] = "none"


class Rollout(Part):
    """How a candidate is led in."""

    mode: Literal["shadow", "direct"] = "shadow"
    look_after: list[Duration] = Field(default_factory=lambda: ["7d", "14d"])
    unit: WindowLength = "1d"

    @model_validator(mode="after")
    def _looks_are_in_order(self) -> Self:
        looks = [duration(look) for look in self.look_after]
        if self.mode == "shadow" and (not looks or looks != sorted(set(looks))):
            raise ValueError(f"`look_after` needs at least one duration, in growing order; given {self.look_after}")
        return self


class ModelDeclaration(Part):
    """Everything that a service needs to know of a model."""

    model: Name
    owner: str
    task: Literal["binary", "multiclass", "regression"]
    features: dict[Name, Annotated[Feature, BeforeValidator(_short_form)]] = Field(min_length=1)
    segments: list[str] = Field(default_factory=list)
    outcome: OutcomeRule = OutcomeRule()
    train: TrainRule
    monitor: MonitorRule = MonitorRule()
    retrain: RetrainRule = RetrainRule()
    gate: Gate = Gate()
    rollout: Rollout = Rollout()

    @model_validator(mode="after")
    def _everything_named_exists(self) -> Self:
        for kind, names in {"segments": self.segments, "gate.slices": self.gate.slices}.items():
            if unknown := sorted(set(names) - set(self.features)):
                raise ValueError(f"{kind} name unknown features {unknown}; declared are {sorted(self.features)}")
        if self.gate.floors and self.task != "binary":
            raise ValueError(f"gate.floors {self.gate.floors} exist for task binary only, this one is {self.task}")
        return self

    def from_caller(self) -> list[str]:
        """Names of the features that a request brings along, in declared order."""
        return [name for name, feature in self.features.items() if feature.view is None]


class ViewDeclaration(Part):
    """A group of features of one kind of entity, kept online and in history."""

    view: Name
    entity: str
    features: dict[Name, FeatureType] = Field(min_length=1)
    ttl: Duration | None = None
    push_source: str | None = None


def parse_document(document: dict[str, Any]) -> ModelDeclaration | ViewDeclaration:
    """The document as its class. Raises pydantic's ValidationError, or ValueError when it is neither kind."""
    if "model" in document:
        return ModelDeclaration.model_validate(document)
    if "view" in document:
        return ViewDeclaration.model_validate(document)
    raise ValueError(f"a document starts with `model:` or `view:`; given keys are {sorted(document)}")
