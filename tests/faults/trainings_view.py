"""What a retrainer's database and a registry's topics say of trainings: who holds which lease, what came of each request."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import asyncpg
from tests.faults.loop_around import Around
from tests.faults.verdict import Effect

from driftloop_contracts.control_plane import DeploymentChanged, VersionRegistered
from driftloop_contracts.loop import CandidateTrained
from driftloop_contracts.topics import CANDIDATES, DEPLOYMENTS, REGISTRY

DAY_S: Final = 86_400


class Jobs:
    """The trainings as their table has them. Several may ask at once."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    async def of(cls, database_url: str) -> Jobs:
        return cls(await asyncpg.create_pool(database_url, min_size=1, max_size=3))

    async def attempts(self) -> dict[str, int]:
        """By request, how often its training was leased."""
        found = await self._pool.fetch("SELECT payload->'training'->>'request_id', attempt FROM job")
        return {str(request): int(attempt) for request, attempt in found}

    async def running(self) -> set[str]:
        """Requests whose training is leased, and has not ended."""
        query = "SELECT payload->'training'->>'request_id' FROM job WHERE lease IS NOT NULL AND ended_at IS NULL"
        return {str(row[0]) for row in await self._pool.fetch(query)}

    async def ended(self) -> int:
        """How many have come to their end."""
        return int(await self._pool.fetchval("SELECT count(*) FROM job WHERE ended_at IS NOT NULL"))

    async def candidates_left(self) -> list[str]:
        """The request of each candidate that was ever committed to the outbox."""
        rows = await self._pool.fetch("SELECT value, headers FROM outbox WHERE topic = $1", CANDIDATES.name)
        kind = CandidateTrained.TYPE
        return [CandidateTrained.read(row["value"]).request_id for row in rows if f'"{kind}"' in row["headers"]]

    async def close(self) -> None:
        await self._pool.close()


async def retaken(jobs: Jobs, request: str, attempt: int, since: float, within_s: float = 60.0) -> float:
    """Seconds from `since` (`time.monotonic`) until the request's training was leased once more."""
    while (await jobs.attempts()).get(request, 0) <= attempt:
        if time.monotonic() - since > within_s:
            break
    return time.monotonic() - since


async def versions(around: Around) -> list[Effect]:
    """A version for each request. Order across requests is not promised: each is a key of its own."""
    registered = await around.of(REGISTRY.name, VersionRegistered)
    return [Effect(str(event.data.request_id), str(event.data.request_id), 0) for event in registered]


async def stale_promotes(around: Around) -> tuple[int, int]:
    """Promotions of a candidate that was compared with another version than the one it replaced; and all promotions."""
    trained = {event.id: event.data for event in await around.of(CANDIDATES.name, CandidateTrained)}
    before, stale, promoted = None, 0, 0
    for event in await around.of(DEPLOYMENTS.name, DeploymentChanged):
        if event.data.reason == "promoted":
            promoted += 1
            stale += trained[event.data.evidence[0]].incumbent_version != before
        before = event.data.champion.version if event.data.champion else None
    return stale, promoted


def doubled(requests: list[str]) -> int:
    """How many there are beyond one for each request."""
    return sum(times - 1 for times in Counter(requests).values())


def half_written(artifacts: Path) -> None:
    """What a writer leaves that is killed in the middle of a blob."""
    folder = artifacts / "sha256" / "00"
    folder.mkdir(exist_ok=True)
    (folder / f"{'0' * 64}#1").write_bytes(b"half a mod")


def aged(artifacts: Path) -> None:
    """What was begun and not finished is a day old: nobody can be writing it any more."""
    for path in unfinished(artifacts):
        os.utime(path, (time.time() - DAY_S,) * 2)


def unfinished(artifacts: Path) -> list[Path]:
    """What writers have begun in the artifact store and not finished."""
    return sorted(artifacts.glob("sha256/*/*#*"))
