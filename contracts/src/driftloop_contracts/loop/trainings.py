"""A training from its lease to its candidate, or to the reason why there is none."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from driftloop_contracts.control_plane import GoldenRow, LossToHold
from driftloop_contracts.event import Fact, Name, Part, Scalar


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
