"""One MLflow call: parse, ask the room in one transaction, answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from driftloop_artifacts import ArtifactStore
from driftloop_contracts.event import AnyEvent
from driftloop_kit.clock import utc_now
from driftloop_kit.service import Context, Reply
from registry.api.mlflow.given import Given
from registry.handlers import Room

T = TypeVar("T")
PERSON = "mlflow"
"""Who moved an alias, until credentials name a principal."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the calls work with."""

    context: Context[Room]
    artifacts: ArtifactStore
    max_file_bytes: int

    async def ask(self, fn: Callable[[Room], Awaitable[T]]) -> T:
        """Its answer, from one transaction; no event follows."""

        async def asked(room: Room) -> Reply[T]:
            return Reply(await fn(room))

        return await self.context.act(asked)

    async def tell(self, fn: Callable[[Room], Awaitable[tuple[T, Sequence[AnyEvent]]]]) -> T:
        """Its answer, from one transaction that also holds the events that follow."""

        async def told(room: Room) -> Reply[T]:
            return Reply(*await fn(room))

        return await self.context.act(told)


def now_ms() -> int:
    """The wall clock: when a person or a client did it."""
    return int(utc_now().timestamp() * 1000)


Call = Callable[[Door, Given], Awaitable[dict[str, Any]]]
