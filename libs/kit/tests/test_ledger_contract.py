"""What every ledger owes, on a real Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from driftloop_bus.ports import Ledger, Transaction
from driftloop_bus.testing import LedgerContract
from driftloop_kit.ledger import PostgresLedger


class TestPostgresLedger(LedgerContract):
    @pytest.fixture(autouse=True)
    def _given(self, ledger: PostgresLedger) -> None:
        self._ledger = ledger

    async def open_ledger(self) -> Ledger:
        return self._ledger

    async def write_effect(self, tx: Transaction, name: str) -> None:
        # A table of the kit's own stands for a service's: the login role may not create one.
        connection: Any = tx.connection
        await connection.execute("INSERT INTO inbox (event_id) VALUES ($1)", f"effect:{name}")

    async def effects(self, ledger: Ledger) -> Sequence[str]:
        async with self._ledger.reading() as connection:
            rows = await connection.fetch(
                "SELECT substr(event_id, 8) AS name FROM inbox WHERE event_id LIKE 'effect:%' ORDER BY 1"
            )
        return [row["name"] for row in rows]
