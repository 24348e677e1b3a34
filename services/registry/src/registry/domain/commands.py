"""What people may ask of a deployment, and when it is refused."""

from datetime import datetime

from registry.domain.deployment import Deployment
from registry.domain.gate import Refuse


def freeze(deployment: Deployment) -> Deployment | Refuse:
    """No challenger may come; a running comparison goes on but can't promote."""
    if deployment.frozen:
        return Refuse("the model is frozen already")
    return deployment.with_frozen(True)


def unfreeze(deployment: Deployment) -> Deployment | Refuse:
    """Challengers may come again."""
    if not deployment.frozen:
        return Refuse("the model is not frozen")
    return deployment.with_frozen(False)


def roll_back(deployment: Deployment, version: str | None, at: datetime) -> Deployment | Refuse:
    """The previous version answers again; who answered is kept in its place, so a second rollback undoes the first."""
    previous = deployment.previous
    if previous is None:
        answers = deployment.champion.version if deployment.champion else None
        return Refuse(
            f"there is no previous version to go back to; version {answers} answers since the first deployment"
        )
    if version not in (None, previous.version):
        return Refuse(f"only the previous version {previous.version} is kept warm; {version} was asked for")
    return deployment.promoted(previous.version, at)


def retire(deployment: Deployment, declared: bool) -> Deployment | Refuse:
    """Nothing answers any more."""
    if not declared:
        return Refuse("no such model is declared")
    return deployment.emptied()


def may_be_approved(deployment: Deployment, version: str | None, known: bool) -> Refuse | None:
    """Why an approval makes no sense, if it does not."""
    if version is None:
        return Refuse("approve needs a version: driftloop approve MODEL --version N")
    if not known:
        return Refuse(f"no version {version} was trained for this model")
    serving = {
        deployment.champion and deployment.champion.version: "is the champion",
        deployment.rollout and deployment.rollout.version: "is compared with the champion",
        deployment.previous and deployment.previous.version: "was the champion: roll back to it",
    }
    return Refuse(f"version {version} {serving[version]} already") if version in serving else None
