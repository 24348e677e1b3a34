"""Between the wire's words and the domain's, both ways."""

import hashlib
import json
from collections.abc import Mapping

from driftloop_bus.errors import BadMessage
from driftloop_contracts.control_plane import (
    Challenger,
    DeploymentChanged,
    LossToHold,
    PreviousVersion,
    ServedVersion,
)
from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration, duration
from driftloop_contracts.event import AnyEvent
from driftloop_contracts.loop import CandidateTrained, ChallengerJudged, SliceLoss
from driftloop_contracts.topics import TOPICS, topic_for
from registry.domain.deployment import Deployment, Rollout
from registry.domain.gate import Bar, Candidate, Judgement, Slice
from registry.domain.policy import Policy
from registry.ports import Link, Registered


def policy(declaration: ModelDeclaration) -> Policy:
    """The declaration's gate and rollout."""
    gate, rollout = declaration.gate, declaration.rollout
    return Policy(
        must_beat_incumbent_by=gate.must_beat_incumbent_by,
        floors=tuple(gate.floors),
        slices=tuple(gate.slices),
        max_latency_ms=gate.max_latency_ms,
        approval_required=gate.approval == "required",
        mode=rollout.mode,
        look_after=tuple(duration(look) for look in rollout.look_after),
    )


def candidate(version: str, fact: CandidateTrained) -> Candidate:
    """The candidate's back-test."""
    return Candidate(
        version=version,
        loss=bar(fact.backtest.loss_to_hold),
        gain=fact.gain,
        compared_with=fact.incumbent_version,
        slices=tuple(_slice(part) for part in fact.slices),
        latency_ms=fact.latency_ms,
    )


def bar(loss: LossToHold) -> Bar:
    """Mean and interval."""
    return Bar(loss.mean, loss.interval)


def _slice(part: SliceLoss) -> Slice:
    name = ", ".join(f"{feature} is {value}" for feature, value in part.slice.items())
    return Slice(name, part.rows, part.candidate, part.incumbent)


def judgement(fact: ChallengerJudged) -> Judgement:
    """One look."""
    return Judgement(
        version=fact.version,
        champion=fact.champion,
        look=fact.look,
        of=fact.of,
        rows=fact.rows,
        gain=fact.gain,
        lower=fact.lower,
        challenger_loss=fact.challenger_loss,
        floors=fact.floors,
        since=fact.since,
        slices_worse=tuple(fact.slices_worse),
    )


def changed(
    model: str, deployment: Deployment, known: Mapping[str, Registered], *, reason: str, evidence: tuple[str, ...] = ()
) -> DeploymentChanged:
    """The whole state, with all that serving needs to load each version."""
    champion, previous, rollout = deployment.champion, deployment.previous, deployment.rollout
    return DeploymentChanged(
        model=model,
        revision=deployment.revision,
        champion=_served(known[champion.version], since=champion.since) if champion else None,
        challengers=[_challenger(rollout, known)] if rollout else [],
        previous=_previous(deployment, known) if previous else None,
        ceiling=known[deployment.ceiling].candidate.backtest.loss_to_hold if deployment.ceiling else None,
        reason=reason,
        evidence=list(evidence),
        frozen=deployment.frozen,
    )


def _served(version: Registered, **more: object) -> ServedVersion:
    return ServedVersion.model_validate(_loading(version) | more)


def _challenger(rollout: Rollout, known: Mapping[str, Registered]) -> Challenger:
    version = known[rollout.version]
    return Challenger.model_validate(
        _loading(version)
        | {"since": rollout.since, "mode": "shadow", "looks": list(rollout.looks), "candidate": version.candidate_id}
    )


def _previous(deployment: Deployment, known: Mapping[str, Registered]) -> PreviousVersion | None:
    previous = deployment.previous
    if previous is None:
        return None
    return PreviousVersion.model_validate(
        _loading(known[previous.version]) | {"since": previous.since, "shadow_until": previous.shadow_until}
    )


def _loading(version: Registered) -> dict[str, object]:
    fact = version.candidate
    return {
        "version": version.version,
        "artifact_digest": fact.artifact_digest,
        "artifact_format": fact.artifact_format,
        "features": fact.features,
        "loss_to_hold": fact.backtest.loss_to_hold,
        "reference_digest": fact.reference_digest,
        "golden_rows": fact.golden_rows,
    }


def canonical(document: ModelDeclaration | ViewDeclaration) -> tuple[str, str]:
    """The document's JSON in declared order, and the digest of it with sorted keys."""
    plain = document.model_dump(mode="json", exclude_none=True)
    canonical_text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return json.dumps(plain, ensure_ascii=False), "sha256:" + hashlib.sha256(canonical_text.encode()).hexdigest()


def link(event: AnyEvent) -> Link:
    """The event as the chain keeps it. Raises BadMessage for what no database can keep."""
    if "\x00" in event.data.key():
        raise BadMessage(f"a name may not contain NUL, got {event.data.key()!r}", id=event.id)
    return Link(
        id=event.id,
        causation=event.causation,
        correlation=event.correlation,
        time=event.time,
        type=event.data.TYPE,
        topic=_topic(event),
        model=event.data.key(),
        incident=getattr(event.data, "incident", None),
        data=event.data.model_dump_json(exclude_none=True),
    )


def _topic(event: AnyEvent) -> str:
    """Where it travelled: CommandRefused has two writers, so its source decides."""
    writer = event.source.rpartition("/")[2]
    candidates = [topic for topic in TOPICS if type(event.data) in topic.events]
    if any(topic.may_write(writer) for topic in candidates):
        return topic_for(type(event.data), writer).name
    return candidates[0].name
