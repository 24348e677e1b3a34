"""Work that is slow or remote: stored by a handler, done outside any transaction, ended in one.

A job is leased: whoever holds the lease renews it, a lost lease means that the job runs again elsewhere (same id), and
the lease token makes sure that it ends once.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from driftloop_bus.ports import Transaction
from driftloop_bus.routes import Follows
from driftloop_contracts.event import Cause, rfc3339
from driftloop_kit.ledger import PostgresTransaction

if TYPE_CHECKING:
    from driftloop_kit.service import Context

H = TypeVar("H")
Json = Any
"""What JSON can say."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work, as its runner sees it."""

    id: str
    kind: str
    payload: Json
    attempt: int = 1
    """1 for the first; one more for each that was lost (its process died) or raised a bug, not for one that waited."""
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The run returned this."""

    result: Json


@dataclass(frozen=True, slots=True)
class Failed:
    """The run can't succeed; the reason is one that a person can act on."""

    reason: str
    kind: str = "raised"
    """raised (a bug in the run), crashed (the process died in every attempt), or what the run said."""


JobEnd = Done | Failed


class JobFailed(Exception):  # a fact, like the events
    """Raised by a run that knows why it can't succeed: it ends as `Failed(reason, kind)`."""

    def __init__(self, reason: str, kind: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


@dataclass(frozen=True)
class JobKind(Generic[H]):
    """How jobs of one kind run and what follows."""

    kind: str
    run: Callable[[Context[H], Job], Awaitable[Json]]
    """Outside any transaction; returns what JSON can say.

    Raises JobFailed when it can't succeed, TryAgain when it must wait (others of its kind go first, then it runs again,
    as often as it takes). Anything else is a bug: `attempts` in all, then `Failed(kind="raised")`. Cancelled when the
    lease is lost or the service stops.
    """
    started: Callable[[H, Job], Awaitable[Follows]] | None = None
    """In the transaction that leases the job: at every lease, so derive ids from the attempt or from none."""
    ended: Callable[[H, Job, JobEnd], Awaitable[Follows]] | None = None
    """In one transaction with the end of the job: happens once."""
    parallel: int = 1
    lease_s: float = 20.0
    attempts: int = 3


class Jobs:
    """Where handlers leave jobs: part of their transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def add(self, job_id: str, kind: str, payload: Json, cause: Cause | None = None) -> bool:
        """The job runs once the transaction commits. False when there is one of this id already: nothing changed."""
        added = await self._tx.connection.fetchval(
            "INSERT INTO job (id, kind, payload, cause) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING RETURNING true",
            job_id,
            kind,
            json.dumps(payload, allow_nan=False),
            None if cause is None else json.dumps(asdict(cause) | {"time": rfc3339(cause.time)}),
        )
        if added and isinstance(self._tx, PostgresTransaction):
            self._tx.left_jobs = True
        return bool(added)


def read_cause(text: str | None) -> Cause | None:
    """The cause as `Jobs.add` stored it."""
    if text is None:
        return None
    fields = json.loads(text)
    return Cause(**fields | {"time": datetime.fromisoformat(fields["time"])})
