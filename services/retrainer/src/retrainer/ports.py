"""What the retrainer's handlers need from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from driftloop_bus.ports import Outgoing
from driftloop_contracts import Cause, Event
from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.loop import RetrainRequested
from retrainer.domain import State


class Requests(Protocol):
    """Requests and what is known of their models; seen by others once the transaction commits, never before."""

    async def put_declaration(self, declared: ModelDeclaration, digest: str) -> None:
        """The model's declaration is this one."""

    async def declaration(self, model: str) -> tuple[ModelDeclaration, str] | None:
        """The model's declaration and its digest, or None before it was heard."""

    async def models(self) -> set[str]:
        """Every model whose declaration was heard."""

    async def put_deployment(self, deployment: DeploymentChanged) -> None:
        """The model's deployment is this one, unless a newer revision is there."""

    async def deployment(self, model: str) -> DeploymentChanged | None:
        """What serves now, or None before the first."""

    async def add(self, request: Event[RetrainRequested]) -> bool:
        """The request is kept, waiting. False when it was there already: nothing changed."""

    async def get(self, request_id: str) -> tuple[Event[RetrainRequested], State] | None:
        """A request and how far it is, locked until the transaction ends."""

    async def waiting(self, model: str) -> list[Event[RetrainRequested]]:
        """Requests of the model that wait for its declaration, oldest first."""

    async def gathering(self) -> int:
        """How many requests wait for their rows: trainings that will begin soon."""

    async def move(self, request_id: str, state: State) -> None:
        """The request is that far."""


class JobQueue(Protocol):
    """Where slow work waits to be leased."""

    async def add(self, job_id: str, kind: str, payload: Any, cause: Cause | None = None) -> bool:
        """The job runs once the transaction commits. False when there is one of this id already."""


Repeated = Callable[[Event[RetrainRequested]], Sequence[Outgoing]]
"""The request once more, as records for whoever watches one model alone."""
