"""What people may look at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from services.monitor.tests.test_the_circle import BAD, GOOD, a_served_model
from services.monitor.tests.world import MODEL, AWatchedWorld, days

from driftloop_kit.http.errors import install
from monitor.api import router
from monitor.domain.state import ModelState
from monitor.ports import Board


class MemoryBoard:
    """The states of a world."""

    def __init__(self, world: AWatchedWorld) -> None:
        self._world = world

    async def states(self) -> list[ModelState]:
        """See `ports.Board`."""
        return list((await self._world.monitor.states.lock([MODEL])).values())


@asynccontextmanager
async def no_board() -> AsyncIterator[Board]:
    """A board without models."""
    yield MemoryBoard(AWatchedWorld())


async def pages(world: AWatchedWorld, *paths: str) -> list[Any]:
    """What the paths answer: JSON, or the status where that is not 200."""

    @asynccontextmanager
    async def reading() -> AsyncIterator[Board]:
        yield MemoryBoard(world)

    app = FastAPI()
    install(app)
    app.include_router(router(reading))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://monitor") as client:
        answers = [await client.get(path) for path in paths]
    return [answer.json() if answer.status_code == httpx.codes.OK else answer.status_code for answer in answers]


async def test_people_see_open_incidents_losses_and_where_the_watch_stands() -> None:
    world = AWatchedWorld()
    await a_served_model(world)
    await world.read(days(10, lambda day: GOOD if day < 5 else BAD))
    models, incidents, of_model, losses, watching = await pages(
        world, "/models", "/incidents", f"/models/{MODEL}/incidents", f"/models/{MODEL}/losses", f"/models/{MODEL}"
    )
    assert models == [watching]
    assert (watching["version"], watching["retrain"], watching["open_incidents"]) == ("1", "requested", 1)
    assert incidents == of_model
    assert (incidents[0]["kind"], incidents[0]["name"], incidents[0]["severity"]) == ("loss", "brier", "critical")
    assert [window["loss"] < 0.12 for window in losses[:4]] == [True] * 4
    assert losses[-1]["standard_deviations"] > 5


async def test_a_model_that_nobody_declared_is_not_found() -> None:
    assert await pages(AWatchedWorld(), "/models", "/models/nobody", "/incidents") == [[], 404, []]
