"""The HTTP door: a second door to the same room."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from driftloop_kit.service import Context
from newborn.handlers import Newborn
from newborn.store import PostgresStandings


def build_api(context: Context[Newborn]) -> APIRouter:
    """The routes. Postgres away: 503."""
    router = APIRouter()

    @router.get("/standings")
    async def standings() -> list[dict[str, Any]]:
        async with context.read() as connection:
            return [asdict(standing) for standing in await PostgresStandings(connection).all()]

    return router
