"""A fresh migrated database for each test that asks for one."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from driftloop_kit.database import Database, open_database
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.schema import migrate
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

_NUMBERS = itertools.count(1)


@pytest.fixture
async def addresses(stack: LocalStack) -> ServiceDatabase:
    made = stack.create_service_database(f"kit_{next(_NUMBERS)}")
    await migrate("driftloop_kit", made.owner_url)
    return made


@pytest.fixture
async def database(addresses: ServiceDatabase) -> AsyncIterator[Database]:
    opened = await open_database(addresses.login_url)
    yield opened
    await opened.close()


@pytest.fixture
def ledger(database: Database) -> PostgresLedger:
    return PostgresLedger(database, "kit")
