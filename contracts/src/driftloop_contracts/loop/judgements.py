"""How a version does against the one before it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from driftloop_contracts.event import Fact, Name, Time


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
