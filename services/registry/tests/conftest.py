"""A database with the registry's tables, for the tests that ask Postgres itself."""

import asyncio
import uuid

import pytest

from driftloop_kit.schema import migrate
from driftloop_local.stack import LocalStack


@pytest.fixture(scope="module")
def registry_database(stack: LocalStack) -> str:
    """Address of an owner of the registry's tables, in a database of this module alone."""
    database = stack.create_service_database(f"registry_{uuid.uuid4().hex[:8]}")
    asyncio.run(migrate("registry", database.owner_url))
    return database.owner_url
