"""Between the wire and the domain: declarations, deployments and readings in, predictions out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from driftloop_contracts.control_plane import DeploymentChanged, ServedVersion
from driftloop_contracts.data_plane import FeaturesUpdated
from driftloop_contracts.documents import Feature, ModelDeclaration, duration
from serving.domain.features import Promise, Reading, Rule
from serving.domain.rollout import Plan, Wanted

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - EPOCH) // _MICROSECOND


def moment(time_us: int) -> datetime:
    """The moment of these microseconds, in UTC."""
    return EPOCH + timedelta(microseconds=time_us)


def promise_of(document: ModelDeclaration) -> Promise:
    """What the declaration says of requests."""
    rules = tuple(_rule(name, feature) for name, feature in document.features.items())
    return Promise(rules, tuple(document.segments))


def plan_of(deployment: DeploymentChanged) -> Plan:
    """What the deployment wants to be loaded, and which part each version plays."""
    shadows = [(wanted_of(one), None) for one in deployment.challengers if one.mode == "shadow"]
    previous = deployment.previous
    return Plan(
        model=deployment.model,
        revision=deployment.revision,
        champion=wanted_of(deployment.champion) if deployment.champion else None,
        canaries=tuple((wanted_of(one), one.share) for one in deployment.challengers if one.mode == "canary"),
        shadows=(*shadows, *([(wanted_of(previous), micros(previous.shadow_until))] if previous else [])),
    )


def wanted_of(served: ServedVersion) -> Wanted:
    """The version, with what it must answer before it may serve."""
    golden = tuple({"features": row.features, "score": row.score} for row in served.golden_rows or ())
    return Wanted(served.version, served.artifact_digest, golden)


def reading_of(updated: FeaturesUpdated) -> Reading:
    """The newest values of an entity."""
    return Reading(updated.values, micros(updated.time), updated.revision)


def plain(value: Any) -> Any:
    """A numpy value as Python's: what JSON can say."""
    return value.tolist() if hasattr(value, "tolist") else value


def _rule(name: str, feature: Feature) -> Rule:
    return Rule(
        name=name,
        type=feature.type,
        view=feature.view,
        entity=feature.entity or "",
        field=feature.field or name,
        max_age_us=duration(feature.max_age) // _MICROSECOND if feature.max_age else None,
        on_stale=feature.on_stale,
    )
