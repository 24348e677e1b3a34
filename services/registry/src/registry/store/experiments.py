"""Experiments and their tags in Postgres."""

import json
from collections.abc import Mapping
from typing import Any, Final

from registry.domain.search import Search
from registry.ports.tracking import Experiment, Page
from registry.store.filters import Query, Source

SOURCE: Final = Source(
    attributes={
        "name": "experiment.name", "experiment_id": "experiment.id::text", "creation_time": "experiment.created_ms",
        "last_update_time": "experiment.updated_ms",
    },
    parts={"tag": "experiment_tag AS part WHERE part.experiment_id = experiment.id"},
    tie="experiment.created_ms DESC, experiment.id DESC",
)  # fmt: skip
_SELECT: Final = """
SELECT id, name, artifact_location, created_ms, updated_ms, active,
    (SELECT json_object_agg(key, value ORDER BY key) FROM experiment_tag WHERE experiment_id = id) AS tags
FROM experiment
"""
_CREATE: Final = """
INSERT INTO experiment (name, artifact_location, created_ms, updated_ms)
SELECT $1, coalesce($2, ''), $3, $3 ON CONFLICT (name) DO NOTHING RETURNING id
"""
_LOCATE: Final = (
    "UPDATE experiment SET artifact_location = 'mlflow-artifacts:/' || id WHERE id = $1 AND artifact_location = ''"
)
_TAGS: Final = """
INSERT INTO experiment_tag (experiment_id, key, value)
SELECT $1, key, value FROM unnest($2::text[], $3::text[]) AS tag (key, value)
ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value
"""


class PostgresExperiments:
    """Experiments in the tables of `0002_tracking.sql`."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    async def create(
        self, name: str, artifact_location: str | None, tags: Mapping[str, str], now_ms: int
    ) -> int | None:
        number: int | None = await self._db.fetchval(_CREATE, name, artifact_location, now_ms)
        if number is None:
            return None
        await self._db.execute(_LOCATE, number)
        if tags:
            await self._db.execute(_TAGS, number, list(tags), list(tags.values()))
        return number

    async def get(self, experiment_id: int) -> Experiment | None:
        row = await self._db.fetchrow(f"{_SELECT} WHERE id = $1", experiment_id)
        return _experiment(row) if row else None

    async def named(self, name: str) -> Experiment | None:
        row = await self._db.fetchrow(f"{_SELECT} WHERE name = $1", name)
        return _experiment(row) if row else None

    async def rename(self, experiment_id: int, name: str, now_ms: int) -> bool:
        taken = await self._db.fetchval("SELECT id FROM experiment WHERE name = $1 AND id <> $2", name, experiment_id)
        if taken is None:
            await self._db.execute(
                "UPDATE experiment SET name = $2, updated_ms = $3 WHERE id = $1", experiment_id, name, now_ms
            )
        return taken is None

    async def set_active(self, experiment_id: int, active: bool, now_ms: int) -> None:
        await self._db.execute(
            "UPDATE experiment SET active = $2, updated_ms = $3 WHERE id = $1", experiment_id, active, now_ms
        )
        await self._db.execute("UPDATE run SET active = $2 WHERE experiment_id = $1", experiment_id, active)

    async def set_tag(self, experiment_id: int, key: str, value: str, now_ms: int) -> None:
        await self._db.execute(_TAGS, experiment_id, [key], [value])
        await self._touch(experiment_id, now_ms)

    async def delete_tag(self, experiment_id: int, key: str, now_ms: int) -> bool:
        gone = await self._db.fetchval(
            "DELETE FROM experiment_tag WHERE experiment_id = $1 AND key = $2 RETURNING true", experiment_id, key
        )
        if gone:
            await self._touch(experiment_id, now_ms)
        return bool(gone)

    async def search(self, search: Search, active: bool | None, page: Page) -> list[Experiment]:
        query = Query()
        only = "" if active is None else f"AND experiment.active = {query.argument(active)}"
        text = (
            f"{_SELECT} WHERE {query.where(search, SOURCE)} {only} ORDER BY {query.order(search, SOURCE)} "
            f"{query.page(page.limit, page.offset)}"
        )
        return [_experiment(row) for row in await self._db.fetch(text, *query.arguments)]

    async def _touch(self, experiment_id: int, now_ms: int) -> None:
        await self._db.execute("UPDATE experiment SET updated_ms = $2 WHERE id = $1", experiment_id, now_ms)


def _experiment(row: Any) -> Experiment:
    return Experiment(
        row["id"], row["name"], row["artifact_location"], row["created_ms"], row["updated_ms"], row["active"],
        json.loads(row["tags"] or "{}"),
    )  # fmt: skip
