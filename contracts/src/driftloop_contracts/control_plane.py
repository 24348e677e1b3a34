"""Commands, declarations, deployments and what the registry says of them."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration
from driftloop_contracts.event import Fact, Name, Part, Scalar, Time


class CommandGiven(Fact):
    """A person asked for something. The service that decides answers with its usual event, or CommandRefused."""

    TYPE: ClassVar[str] = "driftloop.command.given.v1"

    command: str
    """apply, retrain, freeze, unfreeze, approve, rollback, retire."""
    model: str
    """The model, or `view/<name>` where a view's document is applied."""
    given_by: str
    document: dict[str, Any] | None = None
    """With apply: the whole document."""
    until: Time | None = None
    """With retrain: the end of the training window."""
    version: str | None = None
    """With approve and rollback."""
    reason: str = ""


class ModelDeclared(Fact):
    """A model's declaration holds from now on."""

    TYPE: ClassVar[str] = "driftloop.model.declared.v1"

    model: Name
    document: ModelDeclaration
    digest: str
    applied_by: str


class ModelRetired(Fact):
    """A model is no longer served, watched or trained."""

    TYPE: ClassVar[str] = "driftloop.model.retired.v1"

    model: Name
    reason: str
    retired_by: str


class ViewDeclared(Fact):
    """A view's declaration holds from now on."""

    TYPE: ClassVar[str] = "driftloop.view.declared.v1"

    view: Name
    document: ViewDeclaration
    digest: str
    applied_by: str

    def key(self) -> str:
        """view/name, so that no view shadows a model of the same name."""
        return f"view/{self.view}"


class WindowLoss(Part):
    """The mean loss of one closed window."""

    close: Time
    mean: float
    n: int = Field(ge=0)


class LossToHold(Part):
    """The losses that a version showed in its own back-test: its watch is primed by them."""

    loss: str
    """The name of the loss: brier, log_loss, squared."""
    n: int = Field(ge=0)
    mean: float
    interval: tuple[float, float] | None = None
    """95 % of the mean, windows resampled."""
    quantiles: list[float] = Field(default_factory=list)
    """513 of them, or none."""
    windows: list[WindowLoss] = Field(default_factory=list)


class GoldenRow(Part):
    """One row and the score that a version gave it when it was trained: the same must come out wherever it is loaded."""

    features: dict[str, Scalar]
    score: float | list[float]


class ServedVersion(Part):
    """A version that may answer, with all that serving needs to load it."""

    version: str
    artifact_digest: str
    artifact_format: str
    features: dict[str, str]
    """Name to type, in the model's order."""
    since: Time
    loss_to_hold: LossToHold | None = None
    reference_digest: str | None = None
    """Artifact with the distribution of each feature in its training rows."""
    golden_rows: list[GoldenRow] | None = None
    """What a loaded version must answer before it may serve; none: it must answer at all."""


class Challenger(ServedVersion):
    """A version that is compared with the champion."""

    mode: str
    """shadow: answers nobody; canary: answers `share`."""
    share: float = Field(default=0.0, ge=0, le=1)
    looks: list[Time] = Field(default_factory=list)
    """When the monitor judges it, in event time."""
    candidate: str
    """Id of the CandidateTrained event."""


class PreviousVersion(ServedVersion):
    """The last champion: kept warm for rollback, and scored as a shadow for a while."""

    shadow_until: Time


class DeploymentChanged(Fact):
    """What answers now: the whole state, not a difference. A revision that is not newer is ignored."""

    TYPE: ClassVar[str] = "driftloop.deployment.changed.v1"

    model: Name
    revision: int = Field(ge=1)
    champion: ServedVersion | None = None
    challengers: list[Challenger] = Field(default_factory=list)
    previous: PreviousVersion | None = None
    ceiling: LossToHold | None = None
    """The first bar that a person accepted."""
    reason: str
    """first, challenger, promoted, refused, rolled back, frozen, unfrozen, retired."""
    evidence: list[str] = Field(default_factory=list)
    frozen: bool = False


class VersionRegistered(Fact):
    """A candidate got its number."""

    TYPE: ClassVar[str] = "driftloop.version.registered.v1"

    model: Name
    version: str
    artifact_digest: str | None = None
    run_id: str | None = None
    request_id: str | None = None
    source: str | None = None


class AliasMoved(Fact):
    """An alias names another version; `version` is absent when it was deleted."""

    TYPE: ClassVar[str] = "driftloop.alias.moved.v1"

    model: Name
    alias: str
    version: str | None = None
    previous: str | None = None
    moved_by: str


class TagChanged(Fact):
    """A tag of a model or of one of its versions was set, or deleted when `value` is absent."""

    TYPE: ClassVar[str] = "driftloop.tag.changed.v1"

    model: Name
    version: str | None = None
    name: str
    value: str | None = None


class PromotionRefused(Fact):
    """A candidate may not serve, or no longer as a challenger; the reason is one that a person can act on."""

    TYPE: ClassVar[str] = "driftloop.promotion.refused.v1"

    model: Name
    version: str
    reason: str
    missing: list[str] = Field(default_factory=list)
    evidence: list[str] = Field(default_factory=list)


class ApprovalGiven(Fact):
    """A person approved a version."""

    TYPE: ClassVar[str] = "driftloop.approval.given.v1"

    model: Name
    version: str
    approved_by: str
    reason: str = ""


class CommandRefused(Fact):
    """A command will not be carried out; `causationid` is the command's id."""

    TYPE: ClassVar[str] = "driftloop.command.refused.v1"

    model: str
    command: str
    reason: str


class RunStarted(Fact):
    """A tracked run began."""

    TYPE: ClassVar[str] = "driftloop.run.started.v1"

    run_id: str
    experiment: str
    name: str
    tags: dict[str, str] = Field(default_factory=dict)

    def key(self) -> str:
        """The run."""
        return self.run_id


class Metric(Part):
    """One point of one metric."""

    key: str
    value: float
    step: int = 0
    timestamp_ms: int


class MetricsLogged(Fact):
    """A run logged metrics."""

    TYPE: ClassVar[str] = "driftloop.metrics.logged.v1"

    run_id: str
    metrics: list[Metric]

    def key(self) -> str:
        """The run."""
        return self.run_id


class RunEnded(Fact):
    """A tracked run ended."""

    TYPE: ClassVar[str] = "driftloop.run.ended.v1"

    run_id: str
    status: str

    def key(self) -> str:
        """The run."""
        return self.run_id


class AuditRecorded(Fact):
    """A change that somebody answers for; each digest covers the one before it."""

    TYPE: ClassVar[str] = "driftloop.audit.recorded.v1"

    about: str
    sequence: int = Field(ge=1)
    actor: str
    action: str
    details: dict[str, Scalar] = Field(default_factory=dict)
    previous_digest: str
    digest: str

    def key(self) -> str:
        """What the record is about."""
        return self.about
