"""One suite for every implementation of the port."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from newborn.domain import Standing
from newborn.ports import Standings
from newborn.store import MemoryStandings, PostgresStandings

from driftloop_kit.database import open_database
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.schema import migrate
from driftloop_local.stack import LocalStack


class StandingsContract:
    async def test_what_was_put_replaces_what_was_there(self, standings: Standings) -> None:
        assert await standings.get("b") is None
        for standing in (Standing("b", 1, None), Standing("a", 1, "v1"), Standing("b", 2, "v2")):
            await standings.put(standing)
        assert await standings.get("b") == Standing("b", 2, "v2")
        assert await standings.all() == [Standing("a", 1, "v1"), Standing("b", 2, "v2")]


class TestMemoryStandings(StandingsContract):
    @pytest.fixture
    def standings(self) -> Standings:
        return MemoryStandings()


class TestPostgresStandings(StandingsContract):
    @pytest.fixture
    async def standings(self, stack: LocalStack) -> AsyncIterator[Standings]:
        made = stack.create_service_database(f"newborn_{uuid.uuid4().hex[:8]}")
        await migrate("newborn", made.owner_url)
        database = await open_database(made.login_url)
        async with PostgresLedger(database, "newborn").transaction() as tx:
            yield PostgresStandings(tx.connection)
        await database.close()
