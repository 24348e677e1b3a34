"""What the registry's decisions need from outside: declarations, deployments, versions.

Every method works inside the transaction that its object was made for: nothing is seen by others before the commit.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.event import Event
from driftloop_contracts.loop import CandidateTrained
from registry.domain.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Declared:
    """A document as it was applied. `text` is its canonical JSON, keys in declared order."""

    name: str
    """The model, or `view/<name>`."""
    digest: str
    text: str
    applied_by: str
    retired: bool = False

    def of_model(self) -> ModelDeclaration:
        """The model's declaration."""
        return ModelDeclaration.model_validate_json(self.text)


@dataclass(frozen=True, slots=True)
class Standing:
    """A model's deployment, and the event that made its champion champion."""

    deployment: Deployment = field(default_factory=Deployment)
    champion_event: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A candidate with its number."""

    version: str
    candidate_id: str
    candidate: CandidateTrained


@dataclass(frozen=True, slots=True)
class Moved:
    """An alias that names another version than before; None where there was, or is, none."""

    alias: str
    previous: str | None
    version: str | None


class Models(Protocol):
    """Declarations, deployments, versions."""

    async def declared(self, name: str) -> Declared | None:
        """The document that holds now."""

    async def declare(self, declared: Declared) -> None:
        """The document holds from now on."""

    async def standing(self, model: str) -> Standing:
        """The deployment as it stands; nobody else changes it before this transaction ends."""

    async def standings(self, model: str | None = None) -> dict[str, Standing]:
        """How every declared model stands, or this one, as a reader sees it: nothing is locked."""

    async def stand(self, model: str, standing: Standing) -> None:
        """The deployment stands so from now on."""

    async def register(self, event: Event[CandidateTrained]) -> str:
        """The candidate has a number: the next of its model, or the one it got before. Numbers are never used again."""

    async def registered(self, model: str, versions: Collection[str]) -> dict[str, Registered]:
        """Those of the versions that a training made, by number."""

    async def move_aliases(self, model: str, aliases: Mapping[str, str | None]) -> list[Moved]:
        """The aliases name these versions (None: no version); returns what moved."""
