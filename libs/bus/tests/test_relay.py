"""What was committed goes out, in order, whatever is away meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from driftloop_bus.observer import Note
from driftloop_bus.ports import Outgoing
from driftloop_bus.relay import Relay
from driftloop_bus.testing import MemoryLedger, MemoryLog, eventually


def record(name: str, topic: str = "drift.v1") -> Outgoing:
    return Outgoing(topic, b"m", name.encode())


class Room:
    def __init__(self, log: MemoryLog | None = None, ledger: MemoryLedger | None = None, **options: float) -> None:
        self.log, self.ledger = log or MemoryLog(), ledger or MemoryLedger()
        self.notes: list[Note] = []
        self.relay = Relay(self.log, self.ledger.outbox, topics=["drift.v1"], observe=self.notes.append, **options)

    async def commit(self, *records: Outgoing) -> None:
        async with self.ledger.transaction() as tx:
            await tx.publish(records)
        self.relay.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.relay.run())
        try:
            yield
        finally:
            self.relay.stop()
            await asyncio.wait_for(task, 10)

    def sent(self, topic: str = "drift.v1") -> list[str]:
        return [one.value.decode() for one in self.log.records(topic) if one.value is not None]


async def test_what_is_committed_goes_out_in_order_and_once() -> None:
    room = Room()
    async with room.running():
        for number in range(20):
            await room.commit(record(f"{number} a"), record(f"{number} b"))
        await eventually(lambda: len(room.sent()) == 40)
    assert room.sent() == [f"{number} {half}" for number in range(20) for half in "ab"]
    assert await room.ledger.outbox.pending() == 0


async def test_a_commit_wakes_it_at_once() -> None:
    room = Room(look_each_s=60.0)
    async with room.running():
        await room.commit(record("first"))
        await eventually(lambda: room.sent() == ["first"])
        started = time.monotonic()
        await room.commit(record("second"))
        await eventually(lambda: len(room.sent()) == 2)
        assert time.monotonic() - started < 1


async def test_what_another_instance_committed_is_found_by_looking() -> None:
    room = Room(look_each_s=0.02)
    async with room.running():
        async with room.ledger.transaction() as tx:
            await tx.publish([record("theirs")])
        await eventually(lambda: room.sent() == ["theirs"])


async def test_a_broker_that_is_away_is_waited_for_with_the_reason() -> None:
    room = Room()
    room.log.away = True
    async with room.running():
        await room.commit(record("a"), record("b"))
        await eventually(lambda: room.relay.waiting_for is not None)
        assert room.sent() == []
        room.log.away = False
        await eventually(lambda: room.sent() == ["a", "b"])
        await eventually(lambda: room.relay.waiting_for is None)


async def test_a_topic_that_is_missing_holds_up_nobody_else() -> None:
    room = Room()
    async with room.running():
        await room.commit(record("stuck", "retraining.m.v1"), record("a"))
        await room.commit(record("b"))
        await eventually(lambda: room.sent() == ["a", "b"])
        assert "retraining.m.v1" in (room.relay.waiting_for or "retraining.m.v1")
        room.log.create("retraining.m.v1")
        await eventually(lambda: room.sent("retraining.m.v1") == ["stuck"])


async def test_a_record_that_can_not_be_sent_holds_up_its_topic_alone() -> None:
    room = Room()
    async with room.running():
        await room.commit(Outgoing("runs.v1", b"r", b"nowhere", partition=99), record("a"))
        await eventually(lambda: room.sent() == ["a"])
        await eventually(lambda: "runs.v1" in (room.relay.waiting_for or ""))
        assert any(note.kind == "bug" for note in room.notes)


async def test_a_database_that_is_away_is_waited_for() -> None:
    room = Room()
    room.ledger.away = True
    async with room.running():
        await eventually(lambda: "the database is away" in (room.relay.waiting_for or ""))
        room.ledger.away = False
        await room.commit(record("a"))
        await eventually(lambda: room.sent() == ["a"])


async def test_one_of_two_relays_sends_and_the_other_takes_over() -> None:
    first = Room(look_each_s=0.02)
    second = Room(first.log, first.ledger, look_each_s=0.02)
    async with second.running():
        async with first.running():
            for number in range(30):
                await first.commit(record(str(number)))
            await eventually(lambda: len(first.sent()) == 30)
        await second.commit(record("30"))
        await eventually(lambda: len(first.sent()) == 31)
    assert first.sent() == [str(number) for number in range(31)]


async def test_what_the_broker_lost_goes_out_again() -> None:
    room = Room(check_each_s=0.05, look_each_s=0.02)
    async with room.running():
        await room.commit(record("a"), record("b"))
        await eventually(lambda: room.sent() == ["a", "b"])
        room.log.partitions["drift.v1", 0].pop()
        await eventually(lambda: room.sent() == ["a", "b"])
        await eventually(lambda: any(note.kind == "recalled" for note in room.notes))


async def test_stopping_sends_what_is_left() -> None:
    room = Room()
    async with room.ledger.transaction() as tx:
        await tx.publish([record(str(number)) for number in range(1200)])
    async with room.running():
        pass
    assert len(room.sent()) == 1200
