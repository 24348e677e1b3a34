"""Runner and relay on a real broker that is killed, frozen and away: nothing lost, nothing counted twice, nobody dies."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.observer import Note
from driftloop_bus.ports import Transaction
from driftloop_bus.relay import Relay
from driftloop_bus.runner import Runner, on
from driftloop_bus.tail import Tail
from driftloop_bus.testing import MemoryLedger, eventually
from driftloop_contracts import AnyEvent, Event, caused, first
from driftloop_contracts.control_plane import CommandGiven, CommandRefused
from driftloop_contracts.topics import REGISTRY
from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


class Echo:
    """Refuses every command of its model, with the command's reason."""

    def __init__(self, tx: Transaction, model: str) -> None:
        self.store: dict[Any, Any] = tx.connection
        self.model = model

    async def on_command(self, event: Event[CommandGiven]) -> list[AnyEvent]:
        if event.data.model != self.model:
            return []
        self.store[event.data.reason] = self.store.get(event.data.reason, 0) + 1
        refused = CommandRefused(model=self.model, command="freeze", reason=event.data.reason)
        return [caused(refused, event.as_cause())]


class Ear:
    """Remembers when it heard each answer first."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.heard_at: dict[str, float] = {}

    async def on_refused(self, event: Event[CommandRefused]) -> None:
        if event.data.model == self.model:
            self.heard_at.setdefault(event.data.reason, time.monotonic())


class Circle:
    """Commands go in, pass runner, ledger and relay, and are heard by a tail: every part on the real broker."""

    def __init__(self, kafka: str) -> None:
        self.model = f"m-{uuid.uuid4().hex[:8]}"
        self.log, self.ledger, self.ear = KafkaLog(kafka, self.model), MemoryLedger(), Ear(self.model)
        self.notes: list[Note] = []
        self.relay = Relay(self.log, self.ledger.outbox, topics=["registry.v1"], observe=self.notes.append)
        self.runner = Runner(
            "registry",
            f"registry-{self.model}",
            self.log,
            self.ledger,
            lambda tx: Echo(tx, self.model),
            [on(CommandGiven, Echo.on_command)],
            wake=self.relay.wake,
            observe=self.notes.append,
        )
        self.tail = Tail(
            self.log, [REGISTRY], [on(CommandRefused, Ear.on_refused)], self.ear, observe=self.notes.append
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        parts = (self.runner, self.relay, self.tail)
        tasks = [asyncio.create_task(part.run()) for part in parts]
        try:
            await asyncio.wait_for(self.tail.until_caught_up(), 60)
            await eventually(lambda: "commands.v1" in self.runner.positions(), 60)
            yield
            assert not any(task.done() for task in tasks)
        finally:
            for part in parts:
                part.stop()
            await asyncio.wait_for(asyncio.gather(*tasks), 30)
            await self.log.close()

    async def command(self, *reasons: str) -> None:
        """Given, as soon as the broker takes it."""
        producer = await self.log.producer()
        data = [CommandGiven(command="freeze", model=self.model, given_by="ann", reason=reason) for reason in reasons]
        await producer.send([encode(first(one, id=f"{self.model}-{one.reason}", time=NOON), "console") for one in data])

    async def until_heard(self, count: int, within_s: float = 90.0) -> None:
        await eventually(lambda: len(self.ear.heard_at) >= count, within_s)

    def check(self, count: int) -> None:
        assert set(self.ear.heard_at) == {str(number) for number in range(count)}
        assert self.ledger.store == {str(number): 1 for number in range(count)}


async def test_a_command_is_answered_within_milliseconds(kafka: str) -> None:
    circle = Circle(kafka)
    took = []
    async with circle.running():
        producer = await circle.log.producer()
        for number in range(30):
            data = CommandGiven(command="freeze", model=circle.model, given_by="ann", reason=str(number))
            record = encode(first(data, id=f"{circle.model}-{number}", time=NOON), "console")
            started = time.monotonic()
            await producer.send([record])
            await circle.until_heard(number + 1)
            took.append(circle.ear.heard_at[str(number)] - started)
    circle.check(30)
    print(f"command to answer: p50 {sorted(took)[15] * 1000:.0f} ms, worst {max(took) * 1000:.0f} ms")
    assert sorted(took)[15] < 0.5


async def test_a_broker_that_is_killed_loses_and_repeats_nothing(kafka: str, stack: LocalStack) -> None:
    circle = Circle(kafka)
    async with circle.running():
        await circle.command(*map(str, range(20)))
        await asyncio.to_thread(stack.kill, "kafka")
        await asyncio.to_thread(stack.wait_until_ready)
        await circle.command(*map(str, range(20, 40)))
        await circle.until_heard(40)
    circle.check(40)


async def test_a_broker_that_is_away_is_said_and_waited_for(kafka: str, stack: LocalStack) -> None:
    circle = Circle(kafka)
    async with circle.running():
        await circle.command(*map(str, range(5)))
        await circle.until_heard(5)
        await asyncio.to_thread(stack.hold, "kafka")
        try:
            await eventually(lambda: circle.runner.waiting_for is not None and circle.tail.waiting_for is not None, 60)
        finally:
            await asyncio.to_thread(stack.release, "kafka")
        await circle.command(*map(str, range(5, 10)))
        await circle.until_heard(10)
        await eventually(lambda: circle.runner.waiting_for is None and circle.tail.waiting_for is None, 60)
    circle.check(10)


async def test_a_broker_that_is_frozen_goes_on_where_it_stood(kafka: str, stack: LocalStack) -> None:
    circle = Circle(kafka)
    async with circle.running():
        await circle.command(*map(str, range(5)))
        stack.freeze("kafka")
        try:
            late = asyncio.create_task(circle.command(*map(str, range(5, 10))))
            await asyncio.sleep(8)
        finally:
            stack.thaw("kafka")
        await late
        await circle.until_heard(10)
    circle.check(10)
