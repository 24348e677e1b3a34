"""Standings in memory and in Postgres: the only SQL."""

from __future__ import annotations

from typing import Any

from newborn.domain import Standing


class MemoryStandings:
    """`ports.Standings` for tests."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}

    async def get(self, model: str) -> Standing | None:
        """As the port says."""
        return self._standings.get(model)

    async def put(self, standing: Standing) -> None:
        """As the port says."""
        self._standings[standing.model] = standing

    async def all(self) -> list[Standing]:
        """As the port says."""
        return [self._standings[model] for model in sorted(self._standings)]


class PostgresStandings:
    """`ports.Standings` in one transaction."""

    def __init__(self, connection: Any) -> None:
        """connection: asyncpg's, of the transaction."""
        self._connection = connection

    async def get(self, model: str) -> Standing | None:
        """As the port says: the row is locked."""
        row = await self._connection.fetchrow("SELECT * FROM standing WHERE model = $1 FOR UPDATE", model)
        return Standing(**row) if row else None

    async def put(self, standing: Standing) -> None:
        """As the port says."""
        await self._connection.execute(
            "INSERT INTO standing (model, revision, champion) VALUES ($1, $2, $3)"
            " ON CONFLICT (model) DO UPDATE SET revision = excluded.revision, champion = excluded.champion",
            standing.model,
            standing.revision,
            standing.champion,
        )

    async def all(self) -> list[Standing]:
        """As the port says."""
        return [Standing(**row) for row in await self._connection.fetch("SELECT * FROM standing ORDER BY model")]
