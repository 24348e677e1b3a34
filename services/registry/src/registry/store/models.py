"""Declarations, deployments and versions in Postgres."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from driftloop_contracts.event import Event
from driftloop_contracts.loop import CandidateTrained
from registry.domain.deployment import Champion, Deployment, Previous, Rollout
from registry.ports import Declared, Moved, Registered, Standing

# Serialises everything about one model: its deployment row may not be there yet, so a row lock alone would not.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('registry:' || $1, 0))"
_STANDINGS: Final = """
SELECT declaration.name, deployment.* FROM declaration LEFT JOIN deployment ON deployment.model = declaration.name
WHERE declaration.name NOT LIKE 'view/%' AND ($1::text IS NULL OR declaration.name = $1) ORDER BY declaration.name
"""
_DECLARE: Final = """
INSERT INTO declaration (name, digest, document, applied_by, retired) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, document = excluded.document,
    applied_by = excluded.applied_by, retired = excluded.retired
"""
_STAND: Final = """
INSERT INTO deployment (model, revision, champion, champion_since, champion_event, challenger, challenger_since, looks,
    evidence, previous, previous_since, previous_shadow_until, ceiling, frozen)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (model) DO UPDATE SET (revision, champion, champion_since, champion_event, challenger, challenger_since,
    looks, evidence, previous, previous_since, previous_shadow_until, ceiling, frozen) = (
    excluded.revision, excluded.champion, excluded.champion_since, excluded.champion_event, excluded.challenger,
    excluded.challenger_since, excluded.looks, excluded.evidence, excluded.previous, excluded.previous_since,
    excluded.previous_shadow_until, excluded.ceiling, excluded.frozen)
"""
_NEXT_NUMBER: Final = """
INSERT INTO registered_model (name, created_ms, updated_ms, last_version) VALUES ($1, $2, $2, 1)
ON CONFLICT (name) DO UPDATE SET last_version = registered_model.last_version + 1,
    updated_ms = greatest(registered_model.updated_ms, excluded.updated_ms)
RETURNING last_version
"""
_REGISTER: Final = """
INSERT INTO model_version (name, version, created_ms, updated_ms, source, run_id, candidate_id, candidate)
VALUES ($1, $2, $3, $3, $4, $5, $6, $7)
"""
_TAG: Final = """
INSERT INTO model_version_tag (name, version, key, value)
SELECT $1, $2, key, value FROM unnest($3::text[], $4::text[]) AS tag (key, value)
"""
_MOVE: Final = """
INSERT INTO model_alias (name, alias, version)
SELECT $1, alias, version FROM unnest($2::text[], $3::int[]) AS moved (alias, version)
ON CONFLICT (name, alias) DO UPDATE SET version = excluded.version
"""


class PostgresModels:
    """Models in the tables of `0001_registry.sql`."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    async def declared(self, name: str) -> Declared | None:
        row = await self._db.fetchrow(
            "SELECT name, digest, document, applied_by, retired FROM declaration WHERE name = $1", name
        )
        return Declared(row["name"], row["digest"], row["document"], row["applied_by"], row["retired"]) if row else None

    async def declare(self, declared: Declared) -> None:
        await self._db.execute(
            _DECLARE, declared.name, declared.digest, declared.text, declared.applied_by, declared.retired
        )

    async def standing(self, model: str) -> Standing:
        await self._db.execute(_LOCK, model)
        row = await self._db.fetchrow("SELECT * FROM deployment WHERE model = $1", model)
        return _standing(row) if row else Standing()

    async def standings(self, model: str | None = None) -> dict[str, Standing]:
        rows = await self._db.fetch(_STANDINGS, model)
        return {row["name"]: _standing(row) if row["model"] else Standing() for row in rows}

    async def stand(self, model: str, standing: Standing) -> None:
        await self._db.execute(_STAND, model, *_columns(standing))

    async def register(self, event: Event[CandidateTrained]) -> str:
        fact = event.data
        await self._db.execute(_LOCK, fact.model)
        known = await self._db.fetchval("SELECT version FROM model_version WHERE candidate_id = $1", event.id)
        if known is not None:
            return str(known)
        at_ms = int((event.recorded_at or event.time).timestamp() * 1000)
        number = await self._db.fetchval(_NEXT_NUMBER, fact.model, at_ms)
        source = f"driftloop-artifacts:/{fact.artifact_digest}"
        text = fact.model_dump_json(exclude_none=True)
        await self._db.execute(_REGISTER, fact.model, number, at_ms, source, fact.run_id or "", event.id, text)
        tags = _tags(event)
        await self._db.execute(_TAG, fact.model, number, list(tags), list(tags.values()))
        return str(number)

    async def registered(self, model: str, versions: Collection[str]) -> dict[str, Registered]:
        numbers = [
            int(version) for version in versions if version.isascii() and version.isdecimal() and len(version) < 10
        ]
        rows = await self._db.fetch(
            "SELECT version, candidate_id, candidate FROM model_version "
            "WHERE name = $1 AND version = ANY($2::int[]) AND candidate IS NOT NULL",
            model, numbers,
        )  # fmt: skip
        return {
            str(row["version"]): Registered(
                str(row["version"]), row["candidate_id"], CandidateTrained.read(row["candidate"].encode())
            )
            for row in rows
        }

    async def move_aliases(self, model: str, aliases: Mapping[str, str | None]) -> list[Moved]:
        rows = await self._db.fetch("SELECT alias, version FROM model_alias WHERE name = $1", model)
        before = {row["alias"]: str(row["version"]) for row in rows}
        moved = [
            Moved(alias, before.get(alias), version)
            for alias, version in aliases.items()
            if before.get(alias) != version
        ]
        gone = [move.alias for move in moved if move.version is None]
        set_to = {move.alias: int(move.version) for move in moved if move.version is not None}
        if gone:
            await self._db.execute("DELETE FROM model_alias WHERE name = $1 AND alias = ANY($2::text[])", model, gone)
        if set_to:
            await self._db.execute(_MOVE, model, list(set_to), list(set_to.values()))
        return moved


def _tags(event: Event[CandidateTrained]) -> dict[str, str]:
    """What a person who looks with MLflow wants to see of a candidate."""
    fact = event.data
    told = {
        "driftloop.artifact_digest": fact.artifact_digest,
        "driftloop.artifact_format": fact.artifact_format,
        "driftloop.candidate": event.id,
        "driftloop.code_digest": fact.code_digest,
        "driftloop.dataset_digest": fact.dataset_digest,
        "driftloop.gain": None if fact.gain is None else repr(fact.gain),
        "driftloop.loss_to_hold": repr(fact.backtest.loss_to_hold.mean),
        "driftloop.request": fact.request_id,
        "driftloop.trained_until": event.time.isoformat(),
    }
    return {key: value for key, value in told.items() if value is not None}


def _columns(standing: Standing) -> tuple[Any, ...]:
    now, champion = standing.deployment, standing.deployment.champion
    rollout, previous = now.rollout, now.previous
    return (
        now.revision,
        champion and champion.version, champion and champion.since, standing.champion_event,
        rollout and rollout.version, rollout and rollout.since,
        list(rollout.looks) if rollout else [], list(rollout.evidence) if rollout else [],
        previous and previous.version, previous and previous.since, previous and previous.shadow_until,
        now.ceiling, now.frozen,
    )  # fmt: skip


def _standing(row: Any) -> Standing:
    champion = Champion(row["champion"], row["champion_since"]) if row["champion"] else None
    rollout = (
        Rollout(row["challenger"], row["challenger_since"], tuple(row["looks"]), tuple(row["evidence"]))
        if row["challenger"]
        else None
    )
    previous = (
        Previous(row["previous"], row["previous_since"], row["previous_shadow_until"]) if row["previous"] else None
    )
    deployment = Deployment(row["revision"], champion, rollout, previous, row["ceiling"], row["frozen"])
    return Standing(deployment, row["champion_event"])
