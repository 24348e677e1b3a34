"""How a decision becomes true: state, aliases, events and the sealed record of it, in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass

from driftloop_contracts.control_plane import AliasMoved, AuditRecorded, DeploymentChanged, PromotionRefused
from driftloop_contracts.event import AnyEvent, Cause, Scalar, caused
from registry.domain.audit import GENESIS, chained
from registry.domain.deployment import Deployment
from registry.domain.gate import Refuse
from registry.handlers.wording import changed
from registry.ports import Audit, Models, Sealed, Standing


@dataclass(frozen=True, slots=True)
class Why:
    """What a decision rests on."""

    cause: Cause
    actor: str
    """A person, or the service under a declaration's digest."""
    reason: str
    """One word for machines, as DeploymentChanged lists them."""
    words: str
    """The reason for people."""
    evidence: tuple[str, ...] = ()


class Decisions:
    """Carries decisions out; it takes none."""

    def __init__(self, models: Models, audit: Audit) -> None:
        self._models = models
        self._audit = audit

    async def deploy(self, model: str, before: Standing, after: Deployment, why: Why) -> list[AnyEvent]:
        """The deployment stands so, its aliases follow, and everybody hears the whole state."""
        known = await self._models.registered(model, _versions(after))
        event = caused(changed(model, after, known, reason=why.reason, evidence=why.evidence), why.cause)
        await self._models.stand(model, Standing(after, _champion_event(before, after, event.id)))
        return [
            event,
            *await self._aliases(model, after, why),
            await self.seal(model, why.reason, why, version=_version(event.data), revision=after.revision),
        ]

    async def refuse(self, model: str, version: str, refusal: Refuse, why: Why) -> list[AnyEvent]:
        """The version may not serve, and everybody hears why."""
        fact = PromotionRefused(
            model=model,
            version=version,
            reason=refusal.reason,
            missing=list(refusal.missing),
            evidence=list(why.evidence),
        )
        return [caused(fact, why.cause, version), await self.seal(model, "promotion refused", why, version=version)]

    async def seal(self, about: str, action: str, why: Why, **details: Scalar) -> AnyEvent:
        """The decision is recorded behind the last one about the same subject."""
        last = await self._audit.last(about)
        sequence, previous = (last.sequence + 1, last.digest) if last else (1, GENESIS)
        told: Mapping[str, Scalar] = details | {"because": why.words, "cause": why.cause.id}
        digest = chained(
            previous, about=about, sequence=sequence, actor=why.actor, action=action, details=told, at=why.cause.time
        )
        record = AuditRecorded(
            about=about, sequence=sequence, actor=why.actor, action=action, details=dict(told),
            previous_digest=previous, digest=digest,
        )  # fmt: skip
        event = caused(record, why.cause, str(sequence))
        await self._audit.seal(
            about, Sealed(sequence, digest), event_id=event.id, text=record.model_dump_json(exclude_none=True)
        )
        return event

    async def _aliases(self, model: str, after: Deployment, why: Why) -> list[AnyEvent]:
        wanted = {
            "champion": after.champion.version if after.champion else None,
            "challenger": after.rollout.version if after.rollout else None,
        }
        return [
            caused(
                AliasMoved(
                    model=model, alias=moved.alias, version=moved.version, previous=moved.previous, moved_by=why.actor
                ),
                why.cause,
                moved.alias,
            )
            for moved in await self._models.move_aliases(model, wanted)
        ]


def _versions(deployment: Deployment) -> set[str]:
    parts = (deployment.champion, deployment.rollout, deployment.previous)
    return {part.version for part in parts if part} | ({deployment.ceiling} if deployment.ceiling else set())


def _champion_event(before: Standing, after: Deployment, event_id: str) -> str | None:
    if after.champion is None:
        return None
    return before.champion_event if before.deployment.champion == after.champion else event_id


def _version(fact: DeploymentChanged) -> str | None:
    """Whom the change is about: the challenger if there is one, else the champion."""
    served = fact.challengers[0] if fact.challengers else fact.champion
    return served.version if served else None
