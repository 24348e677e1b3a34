"""What a model's declaration demands before a version may serve."""

from dataclasses import dataclass
from datetime import timedelta

from registry.domain.deployment import Mode


@dataclass(frozen=True, slots=True)
class Policy:
    """The gate and the rollout of one declaration."""

    must_beat_incumbent_by: float = 0.0
    floors: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    max_latency_ms: float | None = None
    approval_required: bool = False
    mode: Mode = "shadow"
    look_after: tuple[timedelta, ...] = (timedelta(days=7), timedelta(days=14))
