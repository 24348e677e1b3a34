"""What follows when a promotion turns out to have been a mistake."""

from datetime import datetime

from registry.domain.deployment import Deployment
from registry.domain.gate import Ignore
from registry.domain.policy import Policy


def undo_promotion(
    deployment: Deployment, version: str, previous: str, at: datetime, policy: Policy
) -> Deployment | Ignore:
    """The version that was replaced answers again, unless things have moved on or a person holds the wheel."""
    champion, kept = deployment.champion, deployment.previous
    if champion is None or champion.version != version:
        return Ignore(f"version {version} does not answer any more")
    if kept is None or kept.version != previous:
        return Ignore(f"version {previous} is not kept warm any more")
    if int(previous) > int(version):
        # Whoever went back knew the newer one; the same measure must not send it forth again.
        return Ignore(f"version {version} answers because version {previous} was rolled back")
    if deployment.frozen:
        return Ignore("the model is frozen")
    if policy.approval_required:
        return Ignore("the declaration demands approval: a person decides")
    return deployment.promoted(previous, at)
