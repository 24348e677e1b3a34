"""The circle: drift, retraining, datasets, candidates, judgements, measurements."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from driftloop_contracts.control_plane import GoldenRow, LossToHold
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


class SplitRule(Part):
    """How rows divide into back-test and training: by the time their outcome arrived, never at random."""

    holdout_window: str = "1d"
    holdout_windows: int = Field(default=28, ge=1)
    closes: str = "00:00Z"


class DatasetRequested(Fact):
    """Gather these rows, as they were known at their time."""

    TYPE: ClassVar[str] = "driftloop.dataset.requested.v1"

    model: Name
    request_id: str
    """Id of the RetrainRequested event."""
    window: TrainingWindow
    features: list[str]
    target: str
    point_in_time: str = "asof"
    split: SplitRule


class Quality(Part):
    """What a reader should know of a column before training on it."""

    column: str
    nulls: float = Field(ge=0, le=1)
    minimum: float | None = None
    maximum: float | None = None
    distinct: int | None = None


class Manifest(Part):
    """What a dataset was made of: enough to make it again."""

    table_versions: dict[str, int]
    offsets: list[OffsetRange]
    declaration_digest: str
    rows: int = Field(ge=0)
    label_coverage: float = Field(ge=0, le=1)
    columns: dict[str, str]
    until: Time
    boundary: Time | None = None
    """Rows whose outcome arrived after it, in the windows that follow, are the back-test."""


class DatasetBuilt(Fact):
    """The rows are there, addressed by their content."""

    TYPE: ClassVar[str] = "driftloop.dataset.built.v1"

    model: Name
    request_id: str
    digest: str
    size_bytes: int = Field(ge=0)
    manifest: Manifest
    quality: list[Quality] = Field(default_factory=list)


class DatasetFailed(Fact):
    """The rows can't be gathered; the reason says what to do."""

    TYPE: ClassVar[str] = "driftloop.dataset.failed.v1"

    model: Name
    request_id: str
    reason: str


class TrainingStarted(Fact):
    """A training holds its lease."""

    TYPE: ClassVar[str] = "driftloop.training.started.v1"

    model: Name
    request_id: str
    dataset_digest: str
    attempt: int = Field(default=1, ge=1)


class Backtest(Part):
    """The losses of the last windows, scored by a fit that ended before them."""

    log_loss: float | None = None
    auc: float | None = None
    loss_to_hold: LossToHold


class SliceLoss(Part):
    """The gate's loss on one declared slice, candidate and incumbent."""

    slice: dict[str, Scalar]
    rows: int = Field(ge=0)
    candidate: float
    incumbent: float | None = None


class CandidateTrained(Fact):
    """A version that may not serve yet, with its back-test and the incumbent's losses on the same rows."""

    TYPE: ClassVar[str] = "driftloop.candidate.trained.v1"

    model: Name
    request_id: str
    run_id: str | None = None
    """An MLflow run; absent where tracking was away."""
    artifact_digest: str
    artifact_format: str
    artifact_bytes: int = Field(ge=0)
    features: dict[str, str]
    """Name to type, in the model's order."""
    dataset_digest: str
    reference_digest: str | None = None
    """Artifact with the distribution of each feature; absent where there were too few rows for one."""
    code_digest: str
    environment_digest: str
    seed: int
    rows: int = Field(ge=0)
    gate_loss: str
    backtest: Backtest
    incumbent: Backtest | None = None
    incumbent_version: str | None = None
    gain: float | None = None
    """Mean of incumbent minus candidate, in the gate's loss, on the back-test's rows."""
    slices: list[SliceLoss] = Field(default_factory=list)
    golden: list[float] = Field(default_factory=list)
    golden_rows: list[GoldenRow] | None = None
    """A few rows with their scores, `driftloop_models.golden`: serving checks them when it loads the version."""
    latency_ms: float | None = None
    """Scoring one row, median."""
    cpu_s: float = Field(ge=0)


class TrainingFailed(Fact):
    """A training ended without a candidate; the reason is one that a person can act on."""

    TYPE: ClassVar[str] = "driftloop.training.failed.v1"

    model: Name
    request_id: str
    reason: str
    kind: str
    """dataset, incumbent, raised, timeout, memory, refused, crashed."""
    attempt: int = Field(default=1, ge=1)


class ChallengerJudged(Fact):
    """One look at a rollout, by the service that holds the outcomes. The registry compares it with the gate."""

    TYPE: ClassVar[str] = "driftloop.challenger.judged.v1"

    model: Name
    version: str
    champion: str
    look: int = Field(ge=1)
    of: int = Field(ge=1)
    since: Time
    until: Time
    rows: int = Field(ge=0)
    windows: int = Field(ge=0)
    loss: str
    gain: float
    """Champion minus challenger: positive is better."""
    lower: float
    """2.5 % bound of the gain, windows resampled."""
    resamples: int
    seed: int
    champion_loss: float
    challenger_loss: float
    floors: dict[str, float] = Field(default_factory=dict)
    slices_worse: list[str] = Field(default_factory=list)
    log_e: float | None = None
    """Shown beside it; decides nothing."""
    verdict: str
    """better, worse, undecided."""
    unit: str = "1d"


class RollbackAdvised(Fact):
    """A promoted version does not hold what it promised."""

    TYPE: ClassVar[str] = "driftloop.rollback.advised.v1"

    model: Name
    version: str
    previous: str
    reason: str
    evidence: list[str] = Field(default_factory=list)


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
