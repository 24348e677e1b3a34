"""Registered models and versions in Postgres."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from registry.domain.search import Search
from registry.ports.catalogue import RegisteredModel, Version
from registry.ports.tracking import Page
from registry.store.filters import Query, Source

MODELS: Final = Source(
    attributes={
        "name": "model.name", "timestamp": "model.updated_ms",
    },
    parts={"tag": "registered_model_tag AS part WHERE part.name = model.name"},
    tie="model.name",
)  # fmt: skip
VERSIONS: Final = Source(
    attributes={
        "name": "version.name", "run_id": "version.run_id", "source_path": "version.source",
        "version_number": "version.version", "creation_timestamp": "version.created_ms",
        "last_updated_timestamp": "version.updated_ms",
    },
    parts={"tag": "model_version_tag AS part WHERE part.name = version.name AND part.version = version.version"},
    tie="version.updated_ms DESC, version.name, version.version DESC",
)  # fmt: skip
_VERSION: Final = """
SELECT version.name, version.version, created_ms, updated_ms, source, description, run_id, run_link, model_id, stage,
    (SELECT json_object_agg(key, value ORDER BY key) FROM model_version_tag AS t
        WHERE t.name = version.name AND t.version = version.version) AS tags,
    (SELECT array_agg(alias ORDER BY alias) FROM model_alias AS a
        WHERE a.name = version.name AND a.version = version.version) AS aliases
FROM model_version AS version
"""
_LATEST: Final = f"""
SELECT * FROM (SELECT DISTINCT ON (name, stage) * FROM ({_VERSION} WHERE version.name = ANY($1::text[])
    AND (cardinality($2::text[]) = 0 OR version.stage = ANY($2::text[]))) AS whole
    ORDER BY name, stage, version DESC) AS newest ORDER BY name, version
"""
_MODELS: Final = """
SELECT model.name, created_ms, updated_ms, description,
    (SELECT json_object_agg(key, value ORDER BY key) FROM registered_model_tag AS t WHERE t.name = model.name) AS tags,
    (SELECT json_object_agg(alias, version ORDER BY alias) FROM model_alias AS a WHERE a.name = model.name) AS aliases
FROM registered_model AS model JOIN unnest($1::text[]) WITH ORDINALITY AS wanted (name, place) ON wanted.name = model.name
ORDER BY wanted.place
"""
_MODEL_TAGS: Final = """
INSERT INTO registered_model_tag (name, key, value) SELECT $1, * FROM unnest($2::text[], $3::text[])
ON CONFLICT (name, key) DO UPDATE SET value = excluded.value
"""
_ALIAS: Final = """
INSERT INTO model_alias (name, alias, version) VALUES ($1, $2, $3)
ON CONFLICT (name, alias) DO UPDATE SET version = excluded.version
"""
_NUMBER: Final = """
UPDATE registered_model SET last_version = last_version + 1, updated_ms = $2 WHERE name = $1 RETURNING last_version
"""
_CREATE: Final = """
INSERT INTO model_version (name, version, created_ms, updated_ms, description, source, run_id, run_link, model_id)
VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8)
"""
_VERSION_TAGS: Final = """
INSERT INTO model_version_tag (name, version, key, value) SELECT $1, $2, * FROM unnest($3::text[], $4::text[])
ON CONFLICT (name, version, key) DO UPDATE SET value = excluded.value
"""
_SERVING: Final = """
SELECT champion, challenger, previous, ceiling FROM deployment WHERE model = $1
"""


class PostgresRegisteredModels:
    """Registered models in the tables of `0001_registry.sql`."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    async def create(self, name: str, description: str | None, tags: Mapping[str, str], now_ms: int) -> bool:
        new = await self._db.fetchval(
            "INSERT INTO registered_model (name, created_ms, updated_ms, description) VALUES ($1, $2, $2, $3) "
            "ON CONFLICT DO NOTHING RETURNING true",
            name, now_ms, description,
        )  # fmt: skip
        if new and tags:
            await self._db.execute(_MODEL_TAGS, name, list(tags), list(tags.values()))
        return bool(new)

    async def whole(self, names: Sequence[str]) -> list[RegisteredModel]:
        rows = await self._db.fetch(_MODELS, list(names))
        latest: dict[str, list[Version]] = {row["name"]: [] for row in rows}
        for row in await self._db.fetch(_LATEST, list(latest), []):
            latest[row["name"]].append(_version(row))
        return [
            replace(
                RegisteredModel(*row[:4]),
                tags=json.loads(row["tags"] or "{}"),
                aliases=json.loads(row["aliases"] or "{}"),
                latest=latest[row["name"]],
            )
            for row in rows
        ]

    async def rename(self, name: str, new_name: str, now_ms: int) -> bool:
        if await self._db.fetchval("SELECT true FROM registered_model WHERE name = $1", new_name):
            return False
        await self._db.execute(
            "UPDATE registered_model SET name = $2, updated_ms = $3 WHERE name = $1", name, new_name, now_ms
        )
        await self._db.execute("UPDATE model_version SET updated_ms = $2 WHERE name = $1", new_name, now_ms)
        return True

    async def describe(self, name: str, description: str, now_ms: int) -> None:
        await self._db.execute(
            "UPDATE registered_model SET description = $2, updated_ms = $3 WHERE name = $1", name, description, now_ms
        )

    async def delete(self, name: str) -> None:
        await self._db.execute("DELETE FROM registered_model WHERE name = $1", name)

    async def set_tag(self, name: str, key: str, value: str, now_ms: int) -> None:
        await self._db.execute(_MODEL_TAGS, name, [key], [value])

    async def delete_tag(self, name: str, key: str, now_ms: int) -> bool:
        return bool(
            await self._db.fetchval(
                "DELETE FROM registered_model_tag WHERE name = $1 AND key = $2 RETURNING true", name, key
            )
        )

    async def alias(self, name: str, alias: str) -> int | None:
        found: int | None = await self._db.fetchval(
            "SELECT version FROM model_alias WHERE name = $1 AND alias = $2", name, alias
        )
        return found

    async def set_alias(self, name: str, alias: str, number: int, now_ms: int) -> None:
        await self._db.execute(_ALIAS, name, alias, number)

    async def delete_alias(self, name: str, alias: str, now_ms: int) -> None:
        await self._db.execute("DELETE FROM model_alias WHERE name = $1 AND alias = $2", name, alias)

    async def governed(self, name: str) -> bool:
        return bool(await self._db.fetchval("SELECT true FROM declaration WHERE name = $1", name))

    async def search(self, search: Search, page: Page) -> list[str]:
        query = Query()
        text = (
            f"SELECT model.name FROM registered_model AS model WHERE {query.where(search, MODELS)} "
            f"ORDER BY {query.order(search, MODELS)} {query.page(page.limit, page.offset)}"
        )
        return [row["name"] for row in await self._db.fetch(text, *query.arguments)]


class PostgresVersions:
    """Versions in the tables of `0001_registry.sql`."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    async def create(self, version: Version) -> int:
        number: int = await self._db.fetchval(_NUMBER, version.name, version.created_ms)
        await self._db.execute(
            _CREATE, version.name, number, version.created_ms, version.description, version.source, version.run_id,
            version.run_link, version.model_id,
        )  # fmt: skip
        if version.tags:
            tags = version.tags
            await self._db.execute(_VERSION_TAGS, version.name, number, list(tags), list(tags.values()))
        return number

    async def get(self, name: str, number: int) -> Version | None:
        row = await self._db.fetchrow(f"{_VERSION} WHERE version.name = $1 AND version.version = $2", name, number)
        return _version(row) if row else None

    async def latest(self, name: str, stages: Sequence[str]) -> list[Version]:
        return [_version(row) for row in await self._db.fetch(_LATEST, [name], list(stages))]

    async def describe(self, name: str, number: int, description: str, now_ms: int) -> None:
        await self._db.execute(
            "UPDATE model_version SET description = $3, updated_ms = $4 WHERE name = $1 AND version = $2",
            name, number, description, now_ms,
        )  # fmt: skip

    async def move(self, name: str, number: int, stage: str, archive_others: bool, now_ms: int) -> None:
        if archive_others:
            await self._db.execute(
                "UPDATE model_version SET stage = 'Archived', updated_ms = $4 "
                "WHERE name = $1 AND version <> $2 AND stage = $3",
                name, number, stage, now_ms,
            )  # fmt: skip
        await self._db.execute(
            "UPDATE model_version SET stage = $3, updated_ms = $4 WHERE name = $1 AND version = $2",
            name, number, stage, now_ms,
        )  # fmt: skip
        await self._touch(name, now_ms)

    async def delete(self, name: str, number: int, now_ms: int) -> None:
        await self._db.execute("DELETE FROM model_version WHERE name = $1 AND version = $2", name, number)
        await self._touch(name, now_ms)

    async def set_tag(self, name: str, number: int, key: str, value: str) -> None:
        await self._db.execute(_VERSION_TAGS, name, number, [key], [value])

    async def delete_tag(self, name: str, number: int, key: str) -> bool:
        return bool(
            await self._db.fetchval(
                "DELETE FROM model_version_tag WHERE name = $1 AND version = $2 AND key = $3 RETURNING true",
                name, number, key,
            )
        )  # fmt: skip

    async def serving(self, name: str) -> dict[int, str]:
        row = await self._db.fetchrow(_SERVING, name)
        return {int(version): role for role, version in row.items() if version is not None} if row else {}

    async def search(self, search: Search, page: Page) -> list[Version]:
        query = Query()
        text = (
            f"{_VERSION} WHERE {query.where(search, VERSIONS)} ORDER BY {query.order(search, VERSIONS)} "
            f"{query.page(page.limit, page.offset)}"
        )
        return [_version(row) for row in await self._db.fetch(text, *query.arguments)]

    async def _touch(self, name: str, now_ms: int) -> None:
        await self._db.execute("UPDATE registered_model SET updated_ms = $2 WHERE name = $1", name, now_ms)


def _version(row: Any) -> Version:
    return replace(Version(*row[:10]), tags=json.loads(row["tags"] or "{}"), aliases=row["aliases"] or ())
