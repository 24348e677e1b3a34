"""What a look at two versions says."""

from __future__ import annotations

from driftloop_contracts import Event, caused
from driftloop_contracts.loop import ChallengerJudged, RollbackAdvised
from monitor.domain.judge import Look
from monitor.domain.rules import Rules
from monitor.domain.state import Comparison
from monitor.handlers.heard import cause_of, moment_of


def judged(model: str, rollout: Comparison, at_us: int, look: Look, rules: Rules) -> Event[ChallengerJudged]:
    """One look, caused by the deployment that began the rollout."""
    number = rollout.looked + 1
    data = ChallengerJudged(
        model=model, version=rollout.other, champion=rollout.champion, look=number, of=len(rollout.looks_us),
        since=moment_of(rollout.since_us), until=moment_of(at_us), rows=look.rows, windows=look.windows,
        loss=rules.gate_loss, gain=look.gain, lower=look.lower, resamples=look.resamples, seed=look.seed,
        champion_loss=look.champion_loss, challenger_loss=look.challenger_loss, floors=dict(look.floors),
        slices_worse=list(look.slices_worse), log_e=look.log_e, verdict=look.verdict, unit=unit_text(rules.unit_us),
    )  # fmt: skip
    return caused(data, cause_of(rollout.by), f"{rollout.other}:look:{number}", time=moment_of(at_us))


def rollback(model: str, guard: Comparison, at_us: int, look: Look, rules: Rules) -> Event[RollbackAdvised]:
    """The promoted version is clearly worse than the one that it replaced, on the same outcomes."""
    reason = (
        f"on {look.rows} outcomes of {look.windows} units version {guard.other} loses {look.challenger_loss:.4f} "
        f"{rules.gate_loss}, version {guard.champion} {look.champion_loss:.4f}; {look.reason}"
    )
    data = RollbackAdvised(
        model=model, version=guard.other, previous=guard.champion, reason=reason, evidence=[guard.by.id]
    )
    return caused(data, cause_of(guard.by), f"{guard.other}:guard:{guard.looked + 1}", time=moment_of(at_us))


def unit_text(unit_us: int) -> str:
    """The unit as a declaration would write it."""
    seconds = unit_us // 1_000_000
    for size, letter in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"
