"""The world is read once, and each circle walked once, for all tests."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from flights.offline import Circle, Seen, seen, walk
from flights.source import Source, read_source
from flights.world import World, load

WATCHED_UNTIL = datetime(2013, 8, 1, 9, tzinfo=UTC)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a training process: threads that wait for each other on a busy machine cost ten times the fit."""
    with threadpool_limits(limits=1):
        yield


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
