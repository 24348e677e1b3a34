"""The rows of a training: asked for, gathered as they were known at their time, or not to be had."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from driftloop_contracts.event import Fact, Name, Part, Time
from driftloop_contracts.loop.retraining import OffsetRange, TrainingWindow


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
