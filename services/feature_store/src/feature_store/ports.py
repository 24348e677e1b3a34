"""What the feature store's handlers need from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from driftloop_contracts import Cause
from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration
from feature_store.domain import Reading


class Online(Protocol):
    """The newest values of each entity; seen by others once the transaction commits, never before."""

    async def put(self, readings: Sequence[Reading]) -> list[Reading]:
        """Each reading is stored unless a newer one is there. Returns what is stored now, of those that became the newest.

        readings: at most one an entity.
        """

    async def get(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Reading]:
        """What is stored under these (view, entity), without those that are not there."""


class Declarations(Protocol):
    """Models and views as last declared."""

    async def put_model(self, document: ModelDeclaration, digest: str) -> None:
        """The model's declaration is this one."""

    async def model(self, name: str) -> tuple[ModelDeclaration, str] | None:
        """The model's declaration and its digest, or None before it was heard."""

    async def put_view(self, document: ViewDeclaration) -> None:
        """The view's declaration is this one."""

    async def views(self) -> dict[str, ViewDeclaration]:
        """Every declared view by its name."""


class JobQueue(Protocol):
    """Where slow work waits to be leased."""

    async def add(self, job_id: str, kind: str, payload: Any, cause: Cause | None = None) -> bool:
        """The job runs once the transaction commits. False when there is one of this id already."""
