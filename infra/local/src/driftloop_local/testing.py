"""What every package's tests may ask for: a real Kafka and a real Postgres, one of each a run, on free ports.

A plugin of pytest: `-p driftloop_local.testing`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftloop_local.stack import LocalStack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for a real part is marked so: `pytest -m "not stack"` runs what is left.

    Journeys come first: they wait more than they work, and beside them everything else is done in the meantime.
    """
    items.sort(key=lambda item: item.get_closest_marker("journey") is None)
    for item in items:
        if {"stack", "circle"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A running Kafka and Postgres. Whoever kills a part waits until it is back before the test ends."""
    # Postgres may not run as root and its socket's path is short: a folder of our own right below the temporary one.
    home = Path(tempfile.mkdtemp(prefix="dl-"))
    home.chmod(0o755)
    with LocalStack(home, only={"kafka", "postgres"}) as running:
        yield running
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def kafka(stack: LocalStack) -> str:
    """Bootstrap servers of a broker that has every topic of the catalogue, empty: no file reads what another has said."""
    from driftloop_bus.emptying import empty_topics

    asyncio.run(empty_topics(stack.kafka))
    return stack.kafka


@pytest.fixture
def service_database(stack: LocalStack) -> Callable[[str], str]:
    """Makes a fresh database with a service's tables; returns the login role's address."""
    from driftloop_kit.schema import migrate

    def make(service: str) -> str:
        database = stack.create_service_database(f"{service}_{uuid.uuid4().hex[:8]}")
        asyncio.run(migrate(service, database.owner_url))
        return database.login_url

    return make
