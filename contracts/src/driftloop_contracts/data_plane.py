"""The three families of many events: predictions, outcomes, observations; and the online state that follows from the last."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from driftloop_contracts.event import Fact, Name, Scalar, Time


class PredictionMade(Fact):
    """A model answered. Its event time is the moment that the prediction is for."""

    TYPE: ClassVar[str] = "driftloop.prediction.made.v1"

    prediction_id: str = Field(min_length=1, max_length=250)
    model: Name
    version: str | None = None
    """The registry's version; absent for `history`."""
    variant: str = "champion"
    """champion, challenger, shadow, or history: loaded from before Driftloop, kept by the feature store alone."""
    features: dict[str, Scalar] = Field(default_factory=dict)
    """As the model saw them. A missing one is absent or null, never NaN."""
    score: float | list[float] | None = None
    """Probability of the positive class, class scores, or the value itself; absent for `history`."""
    prediction: Scalar = None
    entity: str | None = None
    keys: dict[str, Scalar] = Field(default_factory=dict)
    """Join keys that are no features."""
    segment: dict[str, Scalar] = Field(default_factory=dict)
    latency_ms: float | None = None
    feature_times: dict[str, Time] = Field(default_factory=dict)
    """Event time of each view's row that was used: the proof of point-in-time correctness."""
    served_at: Time | None = None
    time: Time | None = None
    """Event time, for producers that cannot set the header; the header wins."""
    shard: str | None = None

    def key(self) -> str:
        """model, or model/shard where one partition is too small for a model."""
        return f"{self.model}/{self.shard}" if self.shard else self.model

    def subject(self) -> str:
        """`<model>@<version>` where a version answered."""
        return f"{self.model}@{self.version}" if self.version else self.model


class OutcomeObserved(Fact):
    """What came true for a prediction. Its event time is `observed_at`."""

    TYPE: ClassVar[str] = "driftloop.outcome.observed.v1"

    model: Name
    prediction_id: str | None = Field(default=None, min_length=1, max_length=250)
    """Or `entity` and `time` where the producer has no id."""
    entity: str | None = None
    time: Time | None = None
    """The time of the prediction, only with `entity`."""
    value: bool | int | float | str
    observed_at: Time
    revision: int = Field(default=0, ge=0)
    """0 for the first; a later one corrects an earlier."""
    variant: str | None = None
    """`history` where loaded from before Driftloop."""
    shard: str | None = None

    def key(self) -> str:
        """As the prediction's: equal keys share a partition number."""
        return f"{self.model}/{self.shard}" if self.shard else self.model

    def subject(self) -> str:
        """The model."""
        return self.model


class ObservationMade(Fact):
    """A reading of an entity's features. A late one never overwrites a newer."""

    TYPE: ClassVar[str] = "driftloop.observation.made.v1"

    view: Name
    entity: str = Field(min_length=1, max_length=250)
    values: dict[str, Scalar]
    time: Time
    """When the values became known."""
    revision: int = Field(default=0, ge=0)

    def key(self) -> str:
        """view/entity."""
        return f"{self.view}/{self.entity}"


class FeaturesUpdated(Fact):
    """The newest values of an entity. Compacted: readers keep the greater (time, revision)."""

    TYPE: ClassVar[str] = "driftloop.features.updated.v1"

    view: Name
    entity: str
    values: dict[str, Scalar]
    time: Time
    revision: int = Field(default=0, ge=0)

    def key(self) -> str:
        """view/entity."""
        return f"{self.view}/{self.entity}"
