"""A database with the registry's tables, and the registry as a process, for the tests that ask the real thing."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from driftloop_kit.schema import migrate
from driftloop_kit.testing import ServiceProcess
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack


@pytest.fixture(scope="module")
def database(stack: LocalStack) -> ServiceDatabase:
    """With the registry's tables, for this module alone."""
    made = stack.create_service_database(f"registry_{uuid.uuid4().hex[:8]}")
    asyncio.run(migrate("registry", made.owner_url))
    return made


@pytest.fixture(scope="module")
def registry_database(database: ServiceDatabase) -> str:
    """Its owner's address."""
    return database.owner_url


@pytest.fixture(scope="module")
def running(
    database: ServiceDatabase, kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """A registry on the real stack."""
    with ServiceProcess("registry", kafka, tmp_path_factory.mktemp("registry"), database.login_url) as service:
        service.until_ready()
        yield service
