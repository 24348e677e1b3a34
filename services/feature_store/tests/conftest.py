"""A database with the feature store's tables, one for each module that asks."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from driftloop_kit.database import open_database, plain_url
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.schema import migrate
from driftloop_kit.testing import ServiceProcess, running
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack


@pytest.fixture(scope="module")
def feature_store_database(stack: LocalStack) -> ServiceDatabase:
    """Both addresses."""
    made = stack.create_service_database(f"feature_store_{uuid.uuid4().hex[:8]}")
    asyncio.run(migrate("feature_store", made.owner_url))
    return made


@pytest.fixture
async def ledger(feature_store_database: ServiceDatabase) -> AsyncIterator[PostgresLedger]:
    """The ledger of the feature store's group."""
    opened = PostgresLedger(await open_database(plain_url(feature_store_database.login_url)), "feature_store")
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def feature_store(
    kafka: str, feature_store_database: ServiceDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """The service on the real stack."""
    folder = tmp_path_factory.mktemp("feature_store")
    with running(
        "feature_store", kafka, folder, feature_store_database.login_url, FEATURE_STORE_PROJECT="demo"
    ) as service:
        yield service
