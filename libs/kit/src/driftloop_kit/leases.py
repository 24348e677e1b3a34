"""Leases of jobs in Postgres: by its clock, with a token that fences whoever lost one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from driftloop_kit.database import Connection
from driftloop_kit.jobs import Done, Failed, Job, JobEnd, read_cause

_TAKE: Final = """
UPDATE job SET lease = gen_random_uuid(), free_at = now() + make_interval(secs => $2), attempt = attempt + 1
WHERE id = (
    SELECT id FROM job WHERE kind = $1 AND ended_at IS NULL AND free_at <= now()
    ORDER BY free_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING id, kind, payload, cause, attempt, lease
"""
_RENEW: Final = """
UPDATE job SET free_at = now() + make_interval(secs => $3) WHERE id = $1 AND lease = $2 AND ended_at IS NULL RETURNING true
"""
_GIVE_BACK: Final = """
UPDATE job SET lease = NULL, free_at = now() + make_interval(secs => $3), attempt = attempt - $4
WHERE id = $1 AND lease = $2 AND ended_at IS NULL
"""
_HOLD: Final = "SELECT true FROM job WHERE id = $1 AND lease = $2 AND ended_at IS NULL FOR UPDATE"
_END: Final = "UPDATE job SET ended_at = now(), lease = NULL, outcome = $2 WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Leased:
    """A job with the token of its lease."""

    job: Job
    token: UUID


async def take(connection: Connection, kind: str, lease_s: float) -> Leased | None:
    """The job of this kind that is free longest is ours for `lease_s`; None when none is free."""
    row = await connection.fetchrow(_TAKE, kind, lease_s)
    if row is None:
        return None
    job = Job(row["id"], row["kind"], json.loads(row["payload"]), row["attempt"], read_cause(row["cause"]))
    return Leased(job, row["lease"])


async def renew(connection: Connection, leased: Leased, lease_s: float) -> bool:
    """The lease runs `lease_s` from now; False when it is not ours any more."""
    return bool(await connection.fetchval(_RENEW, leased.job.id, leased.token, lease_s))


async def give_back(connection: Connection, leased: Leased, after_s: float, *, counts: bool) -> None:
    """Anybody may lease the job `after_s` from now; unless it counts, the attempt did not happen."""
    await connection.execute(_GIVE_BACK, leased.job.id, leased.token, after_s, 0 if counts else 1)


async def hold(connection: Connection, leased: Leased) -> bool:
    """The job's row is locked and the lease still ours: nobody else can end it. False when it is not ours."""
    return bool(await connection.fetchval(_HOLD, leased.job.id, leased.token))


async def end(connection: Connection, leased: Leased, how: JobEnd) -> None:
    """The job has ended; call `hold` first."""
    await connection.execute(_END, leased.job.id, json.dumps(_outcome(how), allow_nan=False))


def _outcome(how: JobEnd) -> dict[str, Any]:
    match how:
        case Done(result):
            return {"result": result}
        case Failed(reason, kind):
            return {"reason": reason, "kind": kind}
