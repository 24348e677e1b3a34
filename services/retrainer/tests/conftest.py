"""A database with the retrainer's tables, one for each module that asks."""

import asyncio
import uuid

import pytest

from driftloop_kit.schema import migrate
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack


@pytest.fixture(scope="module")
def retrainer_database(stack: LocalStack) -> ServiceDatabase:
    """Both addresses."""
    made = stack.create_service_database(f"retrainer_{uuid.uuid4().hex[:8]}")
    asyncio.run(migrate("retrainer", made.owner_url))
    return made
