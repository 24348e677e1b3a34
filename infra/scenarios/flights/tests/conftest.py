"""The world is read once, and each circle walked once, for all tests."""

from datetime import UTC, datetime

import pytest

from flights.offline import Circle, Seen, seen, walk
from flights.source import Source, read_source
from flights.world import World, load

WATCHED_UNTIL = datetime(2013, 8, 1, 9, tzinfo=UTC)


@pytest.fixture(scope="session")
def source() -> Source:
    return read_source()


@pytest.fixture(scope="session")
def world() -> World:
    return load()


@pytest.fixture(scope="session")
def year(world: World) -> Seen:
    return seen(world)


@pytest.fixture(scope="session")
def linear(year: Seen) -> Circle:
    return walk(year, "linear", WATCHED_UNTIL)


@pytest.fixture(scope="session")
def boosted(year: Seen) -> Circle:
    return walk(year, "boosted", WATCHED_UNTIL)
