"""Events in a person's words, one line each; the figures are the event's own."""

from __future__ import annotations

from driftloop_contracts import Fact
from driftloop_contracts.control_plane import (
    AliasMoved,
    ApprovalGiven,
    CommandGiven,
    DeploymentChanged,
    ModelDeclared,
    PromotionRefused,
    VersionRegistered,
    ViewDeclared,
)
from driftloop_contracts.loop import (
    BlindnessDetected,
    CandidateTrained,
    ChallengerJudged,
    DatasetBuilt,
    DatasetRequested,
    DriftDetected,
    SchemaBroken,
    TrainingFailed,
    TrainingStarted,
)


def told(fact: Fact) -> str:
    """What the event says. Empty where its type says it all."""
    match fact:
        case DriftDetected():
            return _drift(fact)
        case BlindnessDetected():
            return f"{fact.missing} stopped arriving: {fact.reason}"
        case SchemaBroken():
            return (
                f"{fact.feature} breaks {fact.rule}: {fact.given} given, {fact.allowed} allowed, in {fact.rows:,} rows"
            )
        case DatasetRequested():
            return f"rows until {fact.window.until:%Y-%m-%d %H:%M}, {len(fact.features)} features"
        case DatasetBuilt():
            return f"{fact.manifest.rows:,} rows, {_short(fact.digest)}"
        case TrainingStarted():
            return f"attempt {fact.attempt} on {_short(fact.dataset_digest)}"
        case TrainingFailed():
            return f"{fact.kind}: {fact.reason}"
        case CandidateTrained():
            return _candidate(fact)
        case ChallengerJudged():
            return _judged(fact)
        case _:
            return _of_the_control_plane(fact)


def _of_the_control_plane(fact: Fact) -> str:
    match fact:
        case CommandGiven():
            asked = f"{fact.given_by} asks to {fact.command}" + (f" version {fact.version}" if fact.version else "")
            return asked + (f": {fact.reason}" if fact.reason else "")
        case ModelDeclared() | ViewDeclared():
            return f"by {fact.applied_by}, {_short(fact.digest)}"
        case DeploymentChanged():
            return _deployed(fact)
        case VersionRegistered():
            return f"version {fact.version}"
        case PromotionRefused():
            return f"version {fact.version}: {fact.reason}"
        case ApprovalGiven():
            return f"version {fact.version} by {fact.approved_by}"
        case AliasMoved():
            return f"{fact.alias} names {'version ' + fact.version if fact.version else 'nothing'}"
        case _:
            return str(getattr(fact, "reason", ""))


def _drift(fact: DriftDetected) -> str:
    moved = f" went from {fact.effects[0].before:.3f} to {fact.effects[0].after:.3f}" if fact.effects else ""
    what = f"{_spaced(fact.kind)} of version {fact.version}: {fact.signal.kind} {fact.signal.name}{moved}"
    return f"{what}; {_spaced(fact.recommendation.action)}: {fact.recommendation.reason}"


def _candidate(fact: CandidateTrained) -> str:
    gain = f", {fact.gain:+.3f} against the incumbent on its back-test" if fact.gain is not None else ""
    return f"{fact.rows:,} rows in {fact.cpu_s:.1f} s of CPU{gain}"


def _judged(fact: ChallengerJudged) -> str:
    return (
        f"version {fact.version} {fact.verdict} at look {fact.look} of {fact.of}: gain {fact.gain:+.3f}, "
        f"lower bound {fact.lower:+.3f} after {fact.windows} windows, {fact.rows:,} outcomes"
    )


def _deployed(fact: DeploymentChanged) -> str:
    serving = f"version {fact.champion.version} answers" if fact.champion else "nothing answers"
    rivals = ", ".join(one.version for one in fact.challengers)
    compared = f", compared with version {rivals}" if rivals else ""
    return f"{fact.reason}: {serving}{compared} (revision {fact.revision})"


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _short(digest: str) -> str:
    return digest[:19]
