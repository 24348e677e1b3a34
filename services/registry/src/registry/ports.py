"""What the registry's decisions need from outside: models and their versions, the chain of events, the audit.

Every method works inside the transaction that its object was made for: nothing is seen by others before the commit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
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


@dataclass(frozen=True, slots=True)
class Link:
    """One control event, whole, as the chain keeps it. `data` is its JSON."""

    id: str
    causation: str | None
    correlation: str | None
    time: datetime
    type: str
    topic: str
    model: str
    incident: str | None
    data: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """The last record of an audit chain."""

    sequence: int
    digest: str


class Models(Protocol):
    """Declarations, deployments, versions."""

    async def declared(self, name: str) -> Declared | None:
        """The document that holds now."""

    async def declare(self, declared: Declared) -> None:
        """The document holds from now on."""

    async def standing(self, model: str) -> Standing:
        """The deployment as it stands; nobody else changes it before this transaction ends."""

    async def stand(self, model: str, standing: Standing) -> None:
        """The deployment stands so from now on."""

    async def register(self, event: Event[CandidateTrained]) -> str:
        """The candidate has a number: the next of its model, or the one it got before. Numbers are never used again."""

    async def registered(self, model: str, versions: Collection[str]) -> dict[str, Registered]:
        """Those of the versions that a training made, by number."""

    async def move_aliases(self, model: str, aliases: Mapping[str, str | None]) -> list[Moved]:
        """The aliases name these versions (None: no version); returns what moved."""


class Chain(Protocol):
    """Every control event, for "why is this model live?", months later."""

    async def keep(self, links: Sequence[Link]) -> None:
        """They can be found; one that is there already stays as it is."""

    async def find(self, id: str) -> Link | None:  # noqa: A002  # CloudEvents' own word
        """The event of this id."""

    async def why(self, id: str) -> list[Link]:  # noqa: A002
        """The event, its cause, the cause of that, and so on, as far as it is known.

        Where the cause is not known here (an outcome) but the event belongs to an incident, the incident's DriftDetected follows.
        """

    async def log(self, model: str, limit: int, before: tuple[datetime, str] | None = None) -> list[Link]:
        """The model's events, newest first; with `before`, those older than this (time, id)."""


class Audit(Protocol):
    """One chain of sealed records per subject."""

    async def last(self, about: str) -> Sealed | None:
        """The end of the chain; nobody else adds to it before this transaction ends."""

    async def seal(self, about: str, record: Sealed, *, event_id: str, text: str) -> None:
        """The record is the end of the chain."""
