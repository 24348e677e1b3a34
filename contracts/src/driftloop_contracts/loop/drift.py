"""What has moved, what can no longer be seen, and what contradicts its declaration."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from driftloop_contracts.event import Fact, Name, Part, Scalar, Time


class Signal(Part):
    """What was watched."""

    kind: str
    """loss, feature, missing, unseen, range, stale, contrast, volume, score."""
    name: str
    """The loss, feature or view."""


class Evidence(Part):
    """What the detector saw, and how surprising it is without a change."""

    detector: str
    semantics: str
    """The implementation whose alarms these are, with its version."""
    statistic: float
    threshold: float
    params: dict[str, Scalar] = Field(default_factory=dict)
    calibration: str = ""
    """What the threshold was held to."""


class Onset(Part):
    """When the change probably began."""

    estimate: Time
    since: Time
    until: Time


class Effect(Part):
    """How large the change is, with its 95 % interval."""

    name: str
    before: float
    after: float
    difference: float
    interval: tuple[float, float] | None = None
    unit: str


class Histogram(Part):
    """A feature before and after: shares of the same bins."""

    feature: str
    bins: list[str]
    before: list[float]
    after: list[float]
    distance: float
    """Population stability index, shown and never tested."""


class Labels(Part):
    """How much of the truth had arrived."""

    coverage: float = Field(ge=0, le=1)
    delay_p50_s: float | None = None
    delay_p95_s: float | None = None


class Recommendation(Part):
    """What to do about it."""

    action: str
    """ignore, investigate, fix_pipeline, rollback, collect_labels, retrain."""
    reason: str
    training_since: Time | None = None
    training_until: Time | None = None


class DriftDetected(Fact):
    """A model's world has moved. Sent at once; a retrain, if any, is asked for by another event, later."""

    TYPE: ClassVar[str] = "driftloop.drift.detected.v1"

    incident: str
    model: Name
    version: str
    segment: dict[str, Scalar] = Field(default_factory=dict)
    signal: Signal
    kind: str
    """concept_drift, data_drift, outlier, schema, blindness."""
    severity: str
    """info, warning, critical: from the effect on the loss, or on the rows concerned."""
    evidence: Evidence
    onset: Onset
    detected_at: Time
    delay_samples: int = Field(ge=0)
    effects: list[Effect] = Field(default_factory=list)
    causes: list[Histogram] = Field(default_factory=list)
    """The features that moved most, with their histograms."""
    traffic_share: float = Field(default=1.0, ge=0, le=1)
    labels: Labels | None = None
    changed_meanwhile: list[str] = Field(default_factory=list)
    """Ids of deployments and declarations in the onset window."""
    recommendation: Recommendation


class DriftUpdated(Fact):
    """An open incident changed: its severity, or what it is about."""

    TYPE: ClassVar[str] = "driftloop.drift.updated.v1"

    incident: str
    model: Name
    version: str
    severity: str
    reason: str


class DriftCleared(Fact):
    """An incident is over."""

    TYPE: ClassVar[str] = "driftloop.drift.cleared.v1"

    incident: str
    model: Name
    version: str
    reason: str


class BlindnessDetected(Fact):
    """The monitor can't see: something stopped arriving."""

    TYPE: ClassVar[str] = "driftloop.blindness.detected.v1"

    model: Name
    missing: str
    """predictions, outcomes, or `feature:<name>`."""
    since: Time
    expected_per_hour: float | None = None
    reason: str


class SchemaBroken(Fact):
    """What arrives contradicts the declaration, by an exact rule."""

    TYPE: ClassVar[str] = "driftloop.schema.broken.v1"

    model: Name
    version: str | None = None
    feature: str
    rule: str
    given: str
    allowed: str
    rows: int = Field(ge=1)
