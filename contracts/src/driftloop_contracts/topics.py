"""The catalogue: every topic, who writes it, who reads it, how it is kept. Topics are made from here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from driftloop_contracts import control_plane as control
from driftloop_contracts import data_plane as data
from driftloop_contracts import loop
from driftloop_contracts.event import Fact

DATA_PARTITIONS: Final = 4
CONTROL_PARTITIONS: Final = 1
OUTSIDE: Final = "outside"
FOREVER: Final = -1
# What a value on the wire may weigh; above it the bytes go to the artifact store and the event carries the digest.
MAX_VALUE_BYTES: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, one family of events, one writing service."""

    name: str
    events: tuple[type[Fact], ...]
    owner: str
    """The one service that writes it, or `outside`."""
    readers: tuple[str, ...]
    key: str
    partitions: int = CONTROL_PARTITIONS
    cleanup: Literal["delete", "compact"] = "delete"
    retention_days: int = FOREVER
    open_to_producers: bool = False
    doors: tuple[str, ...] = field(default=())
    """Services that turn a foreign protocol into these events."""

    def may_write(self, service: str) -> bool:
        """Whether the service owns the topic or is one of its doors; `outside` may write the open ones."""
        return service == self.owner or service in self.doors or (self.open_to_producers and service == OUTSIDE)

    def config(self) -> dict[str, str]:
        """Kafka's settings of this topic, replication apart."""
        kept = -1 if self.retention_days == FOREVER else self.retention_days * 86_400_000
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(kept),
            "message.timestamp.type": "LogAppendTime",
        } | (
            # The broker unpacks what strangers compressed, on its own heap, to check it: bombs are refused so.
            {"compression.type": "uncompressed"} if self.open_to_producers else {}
        )


_CONTROL_READERS: Final = ("registry", "console")

PREDICTIONS: Final = Topic(
    "predictions.v1", (data.PredictionMade,), "serving", ("monitor", "feature_store"), "model or model/shard",
    DATA_PARTITIONS, retention_days=7, open_to_producers=True, doors=("monitor",),
)  # fmt: skip
OUTCOMES: Final = Topic(
    "outcomes.v1", (data.OutcomeObserved,), OUTSIDE, ("monitor", "feature_store"), "as predictions.v1",
    DATA_PARTITIONS, retention_days=30, open_to_producers=True, doors=("monitor",),
)  # fmt: skip
OBSERVATIONS: Final = Topic(
    "observations.v1", (data.ObservationMade,), OUTSIDE, ("feature_store",), "view/entity",
    DATA_PARTITIONS, retention_days=7, open_to_producers=True, doors=("feature_store",),
)  # fmt: skip
FEATURES: Final = Topic(
    "features.v1", (data.FeaturesUpdated,), "feature_store", ("serving",), "view/entity",
    DATA_PARTITIONS, cleanup="compact",
)  # fmt: skip
COMMANDS: Final = Topic(
    "commands.v1", (control.CommandGiven,), "console", ("registry", "monitor", "console"), "model", retention_days=365,
)  # fmt: skip
DECLARATIONS: Final = Topic(
    "declarations.v1", (control.ModelDeclared, control.ModelRetired, control.ViewDeclared), "registry",
    ("feature_store", "serving", "monitor", "retrainer", "console", "registry"), "model, or view/name", cleanup="compact",
)  # fmt: skip
DEPLOYMENTS: Final = Topic(
    "deployments.v1", (control.DeploymentChanged,), "registry",
    ("serving", "monitor", "retrainer", "console", "registry"), "model", cleanup="compact",
)  # fmt: skip
REGISTRY: Final = Topic(
    "registry.v1",
    (control.VersionRegistered, control.AliasMoved, control.TagChanged, control.PromotionRefused, control.ApprovalGiven,
     control.CommandRefused),
    "registry", ("console", "registry"), "model", retention_days=365,
)  # fmt: skip
RUNS: Final = Topic(
    "runs.v1", (control.RunStarted, control.MetricsLogged, control.RunEnded), "registry", ("console",), "run", retention_days=30,
)  # fmt: skip
DRIFT: Final = Topic(
    "drift.v1",
    (loop.DriftDetected, loop.DriftUpdated, loop.DriftCleared, loop.BlindnessDetected, loop.SchemaBroken),
    "monitor", _CONTROL_READERS, "model", retention_days=90,
)  # fmt: skip
RETRAINING: Final = Topic(
    "retraining.v1", (loop.RetrainRequested, loop.RetrainSuppressed, control.CommandRefused), "monitor",
    ("retrainer", *_CONTROL_READERS), "model", retention_days=90,
)  # fmt: skip
DATASET_REQUESTS: Final = Topic(
    "dataset-requests.v1", (loop.DatasetRequested,), "retrainer", ("feature_store", *_CONTROL_READERS), "model",
    retention_days=30,
)  # fmt: skip
DATASETS: Final = Topic(
    "datasets.v1", (loop.DatasetBuilt, loop.DatasetFailed), "feature_store", ("retrainer", *_CONTROL_READERS), "model",
    retention_days=365,
)  # fmt: skip
CANDIDATES: Final = Topic(
    "candidates.v1", (loop.TrainingStarted, loop.CandidateTrained, loop.TrainingFailed), "retrainer",
    ("monitor", *_CONTROL_READERS), "model", retention_days=365,
)  # fmt: skip
JUDGEMENTS: Final = Topic(
    "judgements.v1", (loop.ChallengerJudged, loop.RollbackAdvised), "monitor", _CONTROL_READERS, "model", retention_days=365,
)  # fmt: skip
MEASUREMENTS: Final = Topic(
    "measurements.v1", (loop.MeasurementTaken,), "monitor", ("monitor-rollups", "console"), "model", retention_days=7,
)  # fmt: skip
ROLLUPS: Final = Topic(
    "rollups.v1", (loop.RollupClosed,), "monitor", ("console",), "model", retention_days=30,
)  # fmt: skip
AUDIT: Final = Topic("audit.v1", (control.AuditRecorded,), "registry", ("console",), "subject")

TOPICS: Final = (
    PREDICTIONS, OUTCOMES, OBSERVATIONS, FEATURES, COMMANDS, DECLARATIONS, DEPLOYMENTS, REGISTRY, RUNS, DRIFT, RETRAINING,
    DATASET_REQUESTS, DATASETS, CANDIDATES, JUDGEMENTS, MEASUREMENTS, ROLLUPS, AUDIT,
)  # fmt: skip
BY_NAME: Final = {topic.name: topic for topic in TOPICS}
FACTS: Final[dict[str, type[Fact]]] = {fact.TYPE: fact for topic in TOPICS for fact in topic.events}


def topic_for(fact: type[Fact], service: str) -> Topic:
    """Where the service writes such a fact. Raises LookupError when it may not: one topic has one writer."""
    for topic in TOPICS:
        if fact in topic.events and topic.may_write(service):
            return topic
    owners = sorted({topic.owner for topic in TOPICS if fact in topic.events})
    raise LookupError(f"{service} may not write {fact.__name__}; its writers are {owners or 'none: it is in no topic'}")


def on_demand(model: str) -> str:
    """The small topic on which one model's retrain requests are repeated for an orchestrator's watcher."""
    return f"retraining.{model}.v1"


def dead_letters(topic: str, group: str) -> str:
    """Where a group parks what it could not handle, untouched."""
    return f"{topic}.{group}.dead"


def dead_letter_topics() -> dict[str, dict[str, Any]]:
    """Name and settings of every dead-letter topic that a reader with a group may need."""
    return {
        dead_letters(topic.name, group): {"cleanup.policy": "delete", "retention.ms": str(14 * 86_400_000)}
        for topic in TOPICS
        for group in topic.readers
        if group not in ("console", "serving", "monitor-rollups")
    }
