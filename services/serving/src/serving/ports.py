"""What serving needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from driftloop_bus.ports import Outgoing
from serving.domain.features import Reading
from serving.domain.rollout import Plan, Shown


class Artifacts(Protocol):
    """Content-addressed bytes."""

    async def get(self, digest: str, *, max_bytes: int) -> bytes:
        """The verified bytes; raises what `driftloop_artifacts` raises, and never returns other bytes."""


class Models(Protocol):
    """The loaded models (`shelf.py`)."""

    def want(self, plan: Plan) -> bool:
        """The plan will be shown once its champion is warm. False for a revision that is not newer: nothing changes."""

    def shown(self, model: str) -> Shown | None:
        """What answers of the model, or None where nothing was loaded yet."""

    def errors(self, model: str) -> dict[str, str]:
        """By version, why it is not loaded."""

    def models(self) -> list[str]:
        """Every model that a deployment named."""

    def pending(self) -> list[str]:
        """Models whose newest deployment was not tried yet, or whose champion waits for a store that is away."""


class Readings(Protocol):
    """The newest values of every entity (`online.py`)."""

    def put(self, view: str, entity: str, reading: Reading) -> None:
        """Kept if it replaces what is there."""

    def get(self, view: str, entity: str) -> Reading | None:
        """The newest, or None for an entity that nobody spoke of."""


class EventSpool(Protocol):
    """Where prediction events wait until Kafka has them (`driftloop_bus.spool`)."""

    def append(self, records: Sequence[Outgoing]) -> None:
        """They survive the death of this process once it returns. Raises OSError when they can't be kept."""


Counted = Literal["view_feature_set_aside", "shadow_rows_dropped", "shadow_errors", "repeated", "loaded", "load_failed"]


class Counts(Protocol):
    """What is counted for people; nothing is decided by it. Two threads may count at once."""

    def add(self, what: Counted, model: str, why: str, n: int = 1) -> None:
        """n more of it."""

    def predicted(self, model: str, variant: str, rows: int, seconds: float) -> None:
        """So many rows were scored, in this time."""

    def emitted(self, seconds: float) -> None:
        """The events of one tick were made and kept in this time; its answers waited for that."""
