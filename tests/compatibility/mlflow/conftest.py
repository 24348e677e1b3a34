"""The registry as it ships, as a process on a real Kafka and Postgres."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from driftloop_kit.schema import migrate
from driftloop_kit.testing import ServiceProcess, running
from driftloop_local.stack import LocalStack


@pytest.fixture(scope="module")
def registry(stack: LocalStack, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One with a database and an artifact store of its own, for this module alone."""
    database = stack.create_service_database(f"registry_{uuid.uuid4().hex[:8]}")
    asyncio.run(migrate("registry", database.owner_url))
    with running("registry", kafka, tmp_path_factory.mktemp("registry"), database.login_url) as service:
        yield service
        assert service.stop() == 0
