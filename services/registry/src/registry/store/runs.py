"""Runs and what was logged to them, in Postgres. One request is a few statements, however much it logs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from registry.domain.search import Search
from registry.ports.tracking import Batch, Input, Page, Point, Run, RunInfo
from registry.store.filters import Query, Source

SOURCE: Final = Source(
    attributes={
        "run_id": "run.run_id", "run_name": "run.name", "status": "run.status", "user_id": "run.user_id",
        "start_time": "run.start_ms", "end_time": "run.end_ms",
        "artifact_uri": "(experiment.artifact_location || '/' || run.run_id || '/artifacts')",
    },
    parts={
        "metric": "run_metric_latest AS part WHERE part.run_id = run.run_id",
        "parameter": "run_param AS part WHERE part.run_id = run.run_id",
        "tag": "run_tag AS part WHERE part.run_id = run.run_id",
        "dataset": "run_input AS part WHERE part.run_id = run.run_id",
    },
    tie="run.start_ms DESC NULLS LAST, run.run_id",
)  # fmt: skip
_FROM: Final = "FROM run JOIN experiment ON experiment.id = run.experiment_id"
_INFO: Final = f"""
SELECT run_id, experiment_id, run.name, user_id, status, start_ms, end_ms, run.active, artifact_location {_FROM}
"""
# One row a run: what belongs to it is gathered beside it, so that a page of runs is one query.
_WHOLE: Final = f"""
SELECT run.run_id, experiment_id, run.name, user_id, status, start_ms, end_ms, run.active, artifact_location,
    (SELECT array_agg((key, value, timestamp_ms, step) ORDER BY key) FROM run_metric_latest AS m WHERE m.run_id = run.run_id)
        AS metrics,
    (SELECT json_object_agg(key, value ORDER BY key) FROM run_param AS p WHERE p.run_id = run.run_id) AS params,
    (SELECT json_object_agg(key, value ORDER BY key) FROM run_tag AS t WHERE t.run_id = run.run_id) AS tags,
    (SELECT array_agg((i.name, digest, source_type, source, schema, profile, i.tags::text) ORDER BY i.name, digest)
        FROM run_input AS i WHERE i.run_id = run.run_id) AS inputs,
    (SELECT array_agg((model_id, step) ORDER BY step, model_id) FROM run_output AS o WHERE o.run_id = run.run_id) AS outputs
{_FROM} JOIN unnest($1::text[]) WITH ORDINALITY AS wanted (run_id, place) ON wanted.run_id = run.run_id
ORDER BY wanted.place
"""
_UPDATE: Final = """
UPDATE run SET status = coalesce($2, status), end_ms = coalesce($3, end_ms), name = coalesce($4, name) WHERE run_id = $1
"""
_METRICS: Final = """
INSERT INTO run_metric (run_id, key, value, timestamp_ms, step, model_id, dataset_name, dataset_digest)
SELECT $1, * FROM unnest($2::text[], $3::float8[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[])
ON CONFLICT DO NOTHING
"""
_LATEST: Final = """
INSERT INTO run_metric_latest (run_id, key, value, timestamp_ms, step)
SELECT DISTINCT ON (key) $1, key, value, timestamp_ms, step
FROM unnest($2::text[], $3::float8[], $4::bigint[], $5::bigint[]) AS point (key, value, timestamp_ms, step)
ORDER BY key, step DESC, timestamp_ms DESC, value DESC
ON CONFLICT (run_id, key) DO UPDATE SET (value, timestamp_ms, step) = (excluded.value, excluded.timestamp_ms, excluded.step)
WHERE (excluded.step, excluded.timestamp_ms, excluded.value)
    > (run_metric_latest.step, run_metric_latest.timestamp_ms, run_metric_latest.value)
"""
_PARAMS: Final = """
INSERT INTO run_param (run_id, key, value) SELECT $1, * FROM unnest($2::text[], $3::text[]) ON CONFLICT DO NOTHING
"""
_TAGS: Final = """
INSERT INTO run_tag (run_id, key, value) SELECT $1, * FROM unnest($2::text[], $3::text[])
ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value
"""
_INPUTS: Final = """
INSERT INTO run_input (run_id, name, digest, source_type, source, schema, profile, tags, context)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::json[], $9::text[])
ON CONFLICT (run_id, name, digest) DO NOTHING
"""
_OUTPUTS: Final = """
INSERT INTO run_output (run_id, model_id, step) SELECT $1, * FROM unnest($2::text[], $3::bigint[])
ON CONFLICT (run_id, model_id) DO UPDATE SET step = excluded.step
"""
_CONTEXT: Final = "mlflow.data.context"


class PostgresRuns:
    """Runs in the tables of `0002_tracking.sql`."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    async def create(self, info: RunInfo, tags: Mapping[str, str]) -> None:
        await self._db.execute(
            "INSERT INTO run (run_id, experiment_id, name, user_id, status, start_ms) VALUES ($1, $2, $3, $4, $5, $6)",
            info.run_id, info.experiment_id, info.name, info.user_id, info.status, info.start_ms,
        )  # fmt: skip
        await self._tag(info.run_id, tags)

    async def info(self, run_id: str, *, lock: bool = False) -> RunInfo | None:
        row = await self._db.fetchrow(f"{_INFO} WHERE run_id = $1 {'FOR UPDATE OF run' if lock else ''}", run_id)
        return RunInfo(*row) if row else None

    async def whole(self, run_ids: Sequence[str]) -> list[Run]:
        return [_run(row) for row in await self._db.fetch(_WHOLE, list(run_ids))]

    async def update(self, run_id: str, *, status: str | None, end_ms: int | None, name: str | None) -> None:
        await self._db.execute(_UPDATE, run_id, status, end_ms, name)

    async def set_active(self, run_id: str, active: bool) -> None:
        await self._db.execute("UPDATE run SET active = $2 WHERE run_id = $1", run_id, active)

    async def params(self, run_id: str, keys: Sequence[str]) -> dict[str, str]:
        rows = await self._db.fetch(
            "SELECT key, value FROM run_param WHERE run_id = $1 AND key = ANY($2::text[])", run_id, list(keys)
        )
        return {row["key"]: row["value"] for row in rows}

    async def add(self, run_id: str, batch: Batch) -> None:
        if batch.metrics:
            columns = _columns(batch.metrics)
            await self._db.execute(_METRICS, run_id, *columns)
            await self._db.execute(_LATEST, run_id, *columns[:4])
        if batch.params:
            await self._db.execute(_PARAMS, run_id, list(batch.params), list(batch.params.values()))
        await self._tag(run_id, batch.tags)

    async def delete_tag(self, run_id: str, key: str) -> bool:
        return bool(
            await self._db.fetchval("DELETE FROM run_tag WHERE run_id = $1 AND key = $2 RETURNING true", run_id, key)
        )

    async def add_inputs(self, run_id: str, inputs: Sequence[Input]) -> None:
        rows = [
            (
                i.name,
                i.digest,
                i.source_type,
                i.source,
                i.schema,
                i.profile,
                json.dumps(dict(i.tags)),
                i.tags.get(_CONTEXT),
            )
            for i in inputs
        ]
        if rows:
            await self._db.execute(_INPUTS, run_id, *(list(column) for column in zip(*rows, strict=True)))

    async def add_outputs(self, run_id: str, outputs: Sequence[tuple[str, int]]) -> None:
        latest = dict(outputs)
        await self._db.execute(_OUTPUTS, run_id, list(latest), list(latest.values()))

    async def history(self, run_id: str, key: str, page: Page) -> list[Point]:
        rows = await self._db.fetch(
            "SELECT key, value, timestamp_ms, step FROM run_metric WHERE run_id = $1 AND key = $2 "
            "ORDER BY timestamp_ms, step, value LIMIT $3 OFFSET $4",
            run_id, key, page.limit + 1, page.offset,
        )  # fmt: skip
        return [Point(*row) for row in rows]

    async def search(self, experiment_ids: Sequence[int], search: Search, active: bool | None, page: Page) -> list[str]:
        query = Query()
        within = f"run.experiment_id = ANY({query.argument(list(experiment_ids))}::int[])"
        only = "" if active is None else f"AND run.active = {query.argument(active)}"
        text = (
            f"SELECT run.run_id {_FROM} WHERE {within} {only} AND {query.where(search, SOURCE)} "
            f"ORDER BY {query.order(search, SOURCE)} {query.page(page.limit, page.offset)}"
        )
        return [row["run_id"] for row in await self._db.fetch(text, *query.arguments)]

    async def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        if tags:
            await self._db.execute(_TAGS, run_id, list(tags), list(tags.values()))


def _columns(points: Sequence[Point]) -> list[list[Any]]:
    rows = [(p.key, p.value, p.timestamp_ms, p.step, p.model_id, p.dataset_name, p.dataset_digest) for p in points]
    return [list(column) for column in zip(*rows, strict=True)]


def _run(row: Any) -> Run:
    return Run(
        RunInfo(*row[:9]),
        metrics=[Point(*point) for point in row["metrics"] or ()],
        params=json.loads(row["params"] or "{}"),
        tags=json.loads(row["tags"] or "{}"),
        inputs=[replace(Input(*given[:6]), tags=json.loads(given[6])) for given in row["inputs"] or ()],
        outputs=[(model_id, step) for model_id, step in row["outputs"] or ()],
    )
