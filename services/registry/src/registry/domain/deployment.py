"""Which version of a model answers, which is compared with it, and what is kept beside them.

A deployment steps: every change is a new value with the next revision. What serving needs to load a version (digest, features,
losses) is not here: the version's number leads to it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

Mode = Literal["shadow", "direct"]
# What a promotion gained stays measured for as long as a back-test looks back.
PREVIOUS_STAYS_SHADOW: Final = timedelta(days=28)


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that answers."""

    version: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Rollout:
    """A version that is compared with the champion, and when."""

    version: str
    since: datetime
    looks: tuple[datetime, ...]
    evidence: tuple[str, ...]
    """Ids of what speaks for it; the first is its CandidateTrained."""


@dataclass(frozen=True, slots=True)
class Previous:
    """The last champion, kept warm."""

    version: str
    since: datetime
    shadow_until: datetime


@dataclass(frozen=True, slots=True)
class Deployment:
    """The whole state of one model. Revision 0: nothing was ever deployed."""

    revision: int = 0
    champion: Champion | None = None
    rollout: Rollout | None = None
    previous: Previous | None = None
    ceiling: str | None = None
    """The version whose back-test is the bar that a person accepted."""
    frozen: bool = False

    def names(self, version: str) -> bool:
        """Whether the version answers, is compared, or is kept warm."""
        return version in {part.version for part in (self.champion, self.rollout, self.previous) if part}

    def deployed_at_once(self, version: str, at: datetime) -> "Deployment":
        """The version answers from now on; its back-test is the first bar."""
        return replace(self.promoted(version, at), ceiling=self.ceiling or version)

    def compared_with(self, rollout: Rollout) -> "Deployment":
        """The champion answers on; the rollout's version is its challenger, and any older challenger is gone."""
        return replace(self, revision=self.revision + 1, rollout=rollout)

    def promoted(self, version: str, at: datetime) -> "Deployment":
        """The version answers; who answered before is kept as a shadow. The ceiling stays."""
        old = self.champion
        kept = Previous(old.version, old.since, at + PREVIOUS_STAYS_SHADOW) if old else None
        return replace(self, revision=self.revision + 1, champion=Champion(version, at), rollout=None, previous=kept)

    def without_challenger(self) -> "Deployment":
        """The champion answers alone."""
        return replace(self, revision=self.revision + 1, rollout=None)

    def with_frozen(self, frozen: bool) -> "Deployment":
        """No challenger may come, or may come again."""
        return replace(self, revision=self.revision + 1, frozen=frozen)

    def emptied(self) -> "Deployment":
        """Nothing answers any more."""
        return Deployment(revision=self.revision + 1)

    def holding(self, evidence: str) -> "Deployment":
        """A look that decided nothing is remembered; nothing that serving sees has changed."""
        if self.rollout is None:
            return self
        return replace(self, rollout=replace(self.rollout, evidence=(*self.rollout.evidence, evidence)))
