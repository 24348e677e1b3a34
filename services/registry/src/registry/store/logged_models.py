"""Logged models in Postgres."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from registry.domain.search import Search
from registry.ports.tracking import LoggedModel, Page, Point
from registry.store.filters import Query, Source

SOURCE: Final = Source(
    attributes={
        "name": "model.name", "model_id": "model.model_id", "model_type": "model.model_type", "status": "model.status",
        "source_run_id": "model.source_run_id", "creation_timestamp": "model.created_ms",
        "last_updated_timestamp": "model.updated_ms",
    },
    parts={
        "metric": "run_metric AS part WHERE part.model_id = model.model_id",
        "parameter": "logged_model_param AS part WHERE part.model_id = model.model_id",
        "tag": "logged_model_tag AS part WHERE part.model_id = model.model_id",
    },
    tie="model.created_ms DESC, model.model_id",
)  # fmt: skip
_SELECT: Final = """
SELECT model.model_id, experiment_id, model.name, model_type, source_run_id, status, model.created_ms, model.updated_ms,
    artifact_location,
    (SELECT json_object_agg(key, value ORDER BY key) FROM logged_model_param AS p WHERE p.model_id = model.model_id) AS params,
    (SELECT json_object_agg(key, value ORDER BY key) FROM logged_model_tag AS t WHERE t.model_id = model.model_id) AS tags,
    (SELECT array_agg((run_id, key, value, timestamp_ms, step, dataset_name, dataset_digest) ORDER BY run_id, key)
        FROM (SELECT DISTINCT ON (run_id, key, dataset_name, dataset_digest) * FROM run_metric AS m
              WHERE m.model_id = model.model_id
              ORDER BY run_id, key, dataset_name, dataset_digest, step DESC, timestamp_ms DESC, value DESC)) AS metrics
FROM logged_model AS model JOIN experiment ON experiment.id = model.experiment_id
WHERE model.active
"""
_CREATE: Final = """
INSERT INTO logged_model (model_id, experiment_id, name, model_type, source_run_id, status, created_ms, updated_ms)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_PARAMS: Final = """
INSERT INTO logged_model_param (model_id, key, value) SELECT $1, * FROM unnest($2::text[], $3::text[]) ON CONFLICT DO NOTHING
"""
_TAGS: Final = """
INSERT INTO logged_model_tag (model_id, key, value) SELECT $1, * FROM unnest($2::text[], $3::text[])
ON CONFLICT (model_id, key) DO UPDATE SET value = excluded.value
"""


class PostgresLoggedModels:
    """Logged models in the tables of `0002_tracking.sql`."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    async def create(self, model: LoggedModel) -> None:
        await self._db.execute(
            _CREATE, model.model_id, model.experiment_id, model.name, model.model_type, model.source_run_id, model.status,
            model.created_ms, model.updated_ms,
        )  # fmt: skip
        await self.add_params(model.model_id, model.params)
        await self.set_tags(model.model_id, model.tags)

    async def get(self, model_id: str) -> LoggedModel | None:
        row = await self._db.fetchrow(f"{_SELECT} AND model.model_id = $1", model_id)
        return _model(row) if row else None

    async def set_status(self, model_id: str, status: str, now_ms: int) -> None:
        await self._db.execute(
            "UPDATE logged_model SET status = $2, updated_ms = $3 WHERE model_id = $1", model_id, status, now_ms
        )

    async def set_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        if tags:
            await self._db.execute(_TAGS, model_id, list(tags), list(tags.values()))

    async def delete_tag(self, model_id: str, key: str) -> bool:
        return bool(
            await self._db.fetchval(
                "DELETE FROM logged_model_tag WHERE model_id = $1 AND key = $2 RETURNING true", model_id, key
            )
        )

    async def add_params(self, model_id: str, params: Mapping[str, str]) -> None:
        if params:
            await self._db.execute(_PARAMS, model_id, list(params), list(params.values()))

    async def delete(self, model_id: str) -> None:
        await self._db.execute("UPDATE logged_model SET active = false WHERE model_id = $1", model_id)

    async def search(self, experiment_ids: Sequence[int], search: Search, page: Page) -> list[LoggedModel]:
        query = Query()
        text = (
            f"{_SELECT} AND experiment_id = ANY({query.argument(list(experiment_ids))}::int[]) "
            f"AND {query.where(search, SOURCE)} ORDER BY {query.order(search, SOURCE)} {query.page(page.limit, page.offset)}"
        )
        return [_model(row) for row in await self._db.fetch(text, *query.arguments)]


def _model(row: Any) -> LoggedModel:
    return replace(
        LoggedModel(*row[:9]),
        params=json.loads(row["params"] or "{}"),
        tags=json.loads(row["tags"] or "{}"),
        metrics=[
            (run_id, Point(key, value, timestamp_ms, step, row["model_id"], name, digest))
            for run_id, key, value, timestamp_ms, step, name, digest in row["metrics"] or ()
        ],
    )
