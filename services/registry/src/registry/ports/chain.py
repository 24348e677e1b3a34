"""What is remembered for ever: every control event, and the audit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


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
