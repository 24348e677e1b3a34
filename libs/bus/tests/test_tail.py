"""State read from the beginning, and then as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.codec import encode
from driftloop_bus.observer import Note
from driftloop_bus.ports import Outgoing
from driftloop_bus.routes import on, on_batch, on_every
from driftloop_bus.tail import Tail
from driftloop_bus.testing import MemoryLog, eventually
from driftloop_contracts import AnyEvent, Event, first
from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.topics import DEPLOYMENTS, PREDICTIONS

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


class Shelf:
    """A toy: the newest revision of each model."""

    def __init__(self) -> None:
        self.revisions: dict[str, int] = {}
        self.everything: list[str] = []
        self.rows = 0

    async def on_deployment(self, event: Event[DeploymentChanged]) -> None:
        if event.data.reason == "breaks":
            raise ZeroDivisionError
        self.revisions[event.data.model] = event.data.revision

    def on_anything(self, event: AnyEvent) -> None:
        self.everything.append(event.id)

    async def on_predictions(self, batch: PredictionBatch) -> None:
        self.rows += len(batch)


def deployment(revision: int, reason: str = "promoted") -> Outgoing:
    data = DeploymentChanged(model="m", revision=revision, reason=reason)
    return encode(first(data, id=f"d{revision}", time=NOON), "registry")


class Room:
    def __init__(self, log: MemoryLog | None = None) -> None:
        self.log, self.shelf, self.notes = log or MemoryLog(), Shelf(), list[Note]()
        routes = [on(DeploymentChanged, Shelf.on_deployment), on_every(DEPLOYMENTS, Shelf.on_anything)]
        batches = [on_batch(PREDICTIONS, Shelf.on_predictions)]
        self.tail = Tail(
            self.log, [DEPLOYMENTS, "predictions.v1"], [*routes, *batches], self.shelf, observe=self.notes.append
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.tail.run())
        try:
            yield
        finally:
            self.tail.stop()
            await asyncio.wait_for(task, 10)


async def test_it_is_caught_up_once_everything_was_heard_that_was_there() -> None:
    room = Room()
    for revision in (1, 2, 3):
        room.log.append(deployment(revision))
    async with room.running():
        await asyncio.wait_for(room.tail.until_caught_up(), 10)
        assert room.shelf.revisions == {"m": 3}
        assert room.shelf.everything == ["d1", "d2", "d3"]
        assert room.tail.positions()["deployments.v1"] == {0: 3}
        assert room.tail.waiting_for is None
        room.log.append(deployment(4))
        await eventually(lambda: room.shelf.revisions == {"m": 4})


async def test_empty_topics_are_caught_up_with() -> None:
    room = Room()
    async with room.running():
        await asyncio.wait_for(room.tail.until_caught_up(), 10)


async def test_who_starts_late_knows_what_the_others_know() -> None:
    room = Room()
    async with room.running():
        room.log.append(deployment(1))
        await eventually(lambda: room.shelf.revisions == {"m": 1})
    later = Room(room.log)
    async with later.running():
        await eventually(lambda: later.shelf.revisions == {"m": 1})


async def test_hot_topics_come_in_batches() -> None:
    room = Room()
    for number in range(5):
        data = PredictionMade(prediction_id=f"p{number}", model="m")
        room.log.append(encode(first(data, id=str(number), time=NOON), "serving"))
    async with room.running():
        await eventually(lambda: room.shelf.rows == 5)


async def test_one_event_that_it_can_not_take_deafens_it_for_no_other() -> None:
    room = Room()
    room.log.append(deployment(1))
    room.log.append(Outgoing("deployments.v1", b"m", b"nonsense"))
    room.log.append(deployment(2, "breaks"))
    room.log.append(deployment(3))
    async with room.running():
        await eventually(lambda: room.shelf.revisions == {"m": 3})
    skipped = [note for note in room.notes if note.kind == "skipped"]
    assert [note.offset for note in skipped] == [1, 2]
    assert isinstance(skipped[1].error, ZeroDivisionError)


async def test_missing_topics_and_a_broker_that_is_away_are_waited_for() -> None:
    room = Room(MemoryLog(topics={}))
    async with room.running():
        await eventually(lambda: "deployments.v1" in (room.tail.waiting_for or ""))
        room.log.create("deployments.v1")
        room.log.create("predictions.v1", 4)
        await asyncio.wait_for(room.tail.until_caught_up(), 10)
        room.log.away = True
        await eventually(lambda: room.tail.waiting_for == "the broker is away")
        room.log.away = False
        room.log.append(deployment(7))
        await eventually(lambda: room.shelf.revisions == {"m": 7})
