"""The online values and declarations: in memory for tests, in Postgres in one ledger transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration
from feature_store.domain import Reading


class MemoryOnline:
    """`Online` in a dictionary."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Reading] = {}

    async def put(self, readings: Sequence[Reading]) -> list[Reading]:
        """As the port."""
        stored = []
        for reading in readings:
            key = (reading.view, reading.entity)
            known = self._rows.get(key)
            if known is None or known.rank() < reading.rank():
                self._rows[key] = reading
                stored.append(reading)
        return stored

    async def get(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Reading]:
        """As the port."""
        return {key: self._rows[key] for key in keys if key in self._rows}


_PUT = """
INSERT INTO online (view, entity, values, time, revision, event_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::json[], $4::timestamptz[], $5::int[], $6::text[])
ON CONFLICT (view, entity) DO UPDATE
SET values = excluded.values, time = excluded.time, revision = excluded.revision,
    event_id = excluded.event_id
WHERE (excluded.time, excluded.revision, excluded.event_id) > (online.time, online.revision, online.event_id)
RETURNING view, entity, values, time, revision, event_id
"""
_GET = """
SELECT online.* FROM unnest($1::text[], $2::text[]) AS wanted (view, entity) JOIN online USING (view, entity)
"""


class PostgresOnline:
    """`Online` in table `online`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def put(self, readings: Sequence[Reading]) -> list[Reading]:
        """As the port. Rows are written in the order of their keys, so that two writers can't wait for each other."""
        rows = sorted(readings, key=lambda one: (one.view, one.entity))
        columns = [
            [one.view for one in rows],
            [one.entity for one in rows],
            [json.dumps(one.values) for one in rows],
            [one.time for one in rows],
            [one.revision for one in rows],
            [one.event_id for one in rows],
        ]
        return [_reading(row) for row in await self._connection.fetch(_PUT, *columns)]

    async def get(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Reading]:
        """As the port."""
        rows = await self._connection.fetch(_GET, [view for view, _ in keys], [entity for _, entity in keys])
        return {(row["view"], row["entity"]): _reading(row) for row in rows}


def _reading(row: Any) -> Reading:
    return Reading(row["view"], row["entity"], json.loads(row["values"]), row["time"], row["revision"], row["event_id"])


class MemoryDeclarations:
    """`Declarations` in dictionaries."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[ModelDeclaration, str]] = {}
        self._views: dict[str, ViewDeclaration] = {}

    async def put_model(self, document: ModelDeclaration, digest: str) -> None:
        """As the port."""
        self._models[document.model] = (document, digest)

    async def model(self, name: str) -> tuple[ModelDeclaration, str] | None:
        """As the port."""
        return self._models.get(name)

    async def put_view(self, document: ViewDeclaration) -> None:
        """As the port."""
        self._views[document.view] = document

    async def views(self) -> dict[str, ViewDeclaration]:
        """As the port."""
        return dict(self._views)


class PostgresDeclarations:
    """`Declarations` in the tables of `migrations/`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def put_model(self, document: ModelDeclaration, digest: str) -> None:
        """As the port."""
        await self._connection.execute(
            "INSERT INTO model_declaration (model, digest, document) VALUES ($1, $2, $3) ON CONFLICT (model) "
            "DO UPDATE SET digest = excluded.digest, document = excluded.document",
            document.model,
            digest,
            document.model_dump_json(),
        )

    async def model(self, name: str) -> tuple[ModelDeclaration, str] | None:
        """As the port."""
        row = await self._connection.fetchrow("SELECT document, digest FROM model_declaration WHERE model = $1", name)
        return (ModelDeclaration.model_validate_json(row["document"]), row["digest"]) if row else None

    async def put_view(self, document: ViewDeclaration) -> None:
        """As the port."""
        await self._connection.execute(
            "INSERT INTO view_declaration (view, document) VALUES ($1, $2) "
            "ON CONFLICT (view) DO UPDATE SET document = excluded.document",
            document.view,
            document.model_dump_json(),
        )

    async def views(self) -> dict[str, ViewDeclaration]:
        """As the port."""
        rows = await self._connection.fetch("SELECT view, document FROM view_declaration")
        return {row["view"]: ViewDeclaration.model_validate_json(row["document"]) for row in rows}
