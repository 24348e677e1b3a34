"""A service on one screen: its name, its handlers, its doors, its jobs; and what they are given to work with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from driftloop_bus.codec import encode
from driftloop_bus.ports import Log, Outgoing, TopicPartition, Transaction
from driftloop_bus.routes import Follows, Route
from driftloop_kit.health import Health
from driftloop_kit.settings import ServiceSettings
from driftloop_kit.telemetry import Telemetry

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy
    from fastapi import APIRouter, FastAPI
    from starlette.types import ASGIApp

    from driftloop_kit.jobs import JobKind
    from driftloop_kit.ledger import PostgresLedger

H = TypeVar("H")
T = TypeVar("T")


@dataclass(frozen=True)
class Reply(Generic[T]):
    """What a door answers, and the events that follow."""

    answer: T
    events: Follows = ()


def as_records(follows: Follows, service: str) -> list[Outgoing]:
    """What follows, as records for the outbox."""
    return [one if isinstance(one, Outgoing) else encode(one, service) for one in follows]


class Reader(Protocol):
    """What hears the service's topics, as people may have to do with it."""

    def paused(self) -> dict[TopicPartition, str]:
        """Partitions that stand still until a person resumes them, with the reason."""

    def resume(self, topic: str, partition: int) -> bool:
        """It goes on where it stood. False where it was not paused."""


@dataclass
class Context(Generic[H]):
    """What doors, jobs and background work are given. Complete before any dependency answers."""

    name: str
    settings: ServiceSettings
    log: Log
    health: Health
    handlers: Callable[[Transaction], H] | None = None
    ledger: PostgresLedger | None = None
    """None in a service that keeps nothing."""
    positions: Callable[[], dict[str, dict[int, int]]] = dict
    """`{topic: {partition: next offset}}` as committed (ledger) or as read (tail)."""
    reader: Reader | None = None
    """None in a service that parks nothing."""
    telemetry: Telemetry = field(default_factory=lambda: Telemetry("test"))
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at SIGTERM: answers without an end (server-sent events) end now."""

    async def act(self, fn: Callable[[H], Awaitable[Reply[T]]]) -> T:
        """Runs `fn` with the handlers of one transaction; its events are in the outbox once this returns.

        Raises TryAgain while the database is away (a door answers 503), Refused as `fn` raised it: nothing happened then.
        """
        ledger, handlers = self._kept()
        async with ledger.transaction() as tx:
            reply = await fn(handlers(tx))
            await tx.publish(as_records(reply.events, self.name))
        return reply.answer

    @asynccontextmanager
    async def read(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """An asyncpg connection in a read-only transaction. Raises TryAgain while the database is away."""
        ledger, _ = self._kept()
        async with ledger.reading() as connection:
            yield connection

    def _kept(self) -> tuple[PostgresLedger, Callable[[Transaction], H]]:
        if self.ledger is None or self.handlers is None:
            raise RuntimeError(f"{self.name} has no database: it can't act in a transaction")
        return self.ledger, self.handlers


@dataclass(frozen=True)
class Service(Generic[H]):
    """What a service is made of; `run_service` runs it."""

    name: str
    """As in the catalogue of topics: also its consumer group and its database."""
    settings: ServiceSettings
    handlers: Callable[[Transaction], H] | None = None
    """Makes the handlers of one transaction. None: the service keeps nothing (`tail` instead)."""
    routes: Sequence[Route[H]] = ()
    """`on`, `on_batch`, `on_every`, `every` of `driftloop_bus.runner`."""
    api: Callable[[Context[H]], FastAPI | APIRouter] | None = None
    """The HTTP door, made once the context is there (not yet the dependencies)."""
    hot: Callable[[Context[H], ASGIApp], ASGIApp] | None = None
    """Wraps the door's app: an ASGI app that answers its few hot paths itself and passes on the rest.

    Host, Origin, key and body limit were checked before it is called.
    """
    jobs: Sequence[JobKind[H]] = ()
    background: Sequence[Callable[[Context[H]], Awaitable[None]]] = ()
    """Each runs from start to SIGTERM, then is cancelled. One that ends by an error ends the service."""
    tail: tuple[Sequence[Route[Any]], Any] | None = None
    """(routes, object): topics read from the beginning, without a group, into the object's memory."""
    body_limits: dict[str, int] = field(default_factory=dict)
    """Bytes a body may have, by path prefix, where that is not 1 MiB."""
