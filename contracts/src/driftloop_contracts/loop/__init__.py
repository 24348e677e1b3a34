"""The circle: drift, retraining, datasets, candidates, judgements, measurements. One file a family."""

from driftloop_contracts.loop.datasets import (
    DatasetBuilt,
    DatasetFailed,
    DatasetRequested,
    Manifest,
    Quality,
    SplitRule,
)
from driftloop_contracts.loop.drift import (
    BlindnessDetected,
    DriftCleared,
    DriftDetected,
    DriftUpdated,
    Effect,
    Evidence,
    Histogram,
    Labels,
    Onset,
    Recommendation,
    SchemaBroken,
    Signal,
)
from driftloop_contracts.loop.judgements import ChallengerJudged, RollbackAdvised
from driftloop_contracts.loop.measurements import MeasurementTaken, RollupClosed
from driftloop_contracts.loop.retraining import Budget, OffsetRange, RetrainRequested, RetrainSuppressed, TrainingWindow
from driftloop_contracts.loop.trainings import Backtest, CandidateTrained, SliceLoss, TrainingFailed, TrainingStarted

__all__ = [
    "Backtest", "BlindnessDetected", "Budget", "CandidateTrained", "ChallengerJudged", "DatasetBuilt",
    "DatasetFailed", "DatasetRequested", "DriftCleared", "DriftDetected", "DriftUpdated", "Effect", "Evidence",
    "Histogram", "Labels", "Manifest", "MeasurementTaken", "OffsetRange", "Onset", "Quality", "Recommendation",
    "RetrainRequested", "RetrainSuppressed", "RollbackAdvised", "RollupClosed", "SchemaBroken", "Signal",
    "SliceLoss", "SplitRule", "TrainingFailed", "TrainingStarted", "TrainingWindow",
]  # fmt: skip
