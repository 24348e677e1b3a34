"""How far a reader is behind, and how a reader that is too slow for what it has taken gets through all the same."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.codec import encode
from driftloop_bus.errors import TryAgain
from driftloop_bus.lag import Lag, Lags, Standing
from driftloop_bus.ports import Outgoing, Transaction
from driftloop_bus.routes import on
from driftloop_bus.runner import Runner, on_batch
from driftloop_bus.tail import Tail
from driftloop_bus.testing import MemoryLedger, MemoryLog, eventually
from driftloop_contracts import AnyEvent, Event, first
from driftloop_contracts.control_plane import CommandGiven
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.topics import COMMANDS, PREDICTIONS

NOON: Final = datetime(2013, 7, 1, 12, tzinfo=UTC)
PLACE: Final = (PREDICTIONS.name, 0)
OTHER: Final = (PREDICTIONS.name, 1)


def prediction(number: int) -> Outgoing:
    data = PredictionMade(prediction_id=f"p{number}", model="m")
    return encode(first(data, id=f"id-{number}", time=NOON + timedelta(seconds=number)), "serving")


class Slow:
    """A toy that gets through with few rows at a time."""

    def __init__(self, tx: Transaction, most: int) -> None:
        self.store: dict[Any, Any] = tx.connection
        self.most = most

    async def on_predictions(self, batch: PredictionBatch) -> list[AnyEvent]:
        self.store["heard"] = [*self.store.get("heard", []), *batch.prediction_ids]
        self.store["sizes"] = [*self.store.get("sizes", []), len(batch)]
        if len(batch) > self.most:
            await asyncio.sleep(0.02)
            raise TryAgain("broken off: it took too long")
        return []


class Room:
    """A runner with a slow handler, and what it talks to."""

    def __init__(self, most: int) -> None:
        self.log, self.ledger, self.most = MemoryLog(), MemoryLedger(), most
        self.runner: Runner[Slow] = Runner(
            "monitor", "monitor", self.log, self.ledger, lambda tx: Slow(tx, self.most),
            [on_batch(PREDICTIONS, Slow.on_predictions)], poll_wait_ms=20,
        )  # fmt: skip

    def put(self, numbers: range) -> None:
        for number in numbers:
            self.log.append(prediction(number))

    async def until_at(self, offset: int) -> None:
        """Told by what is committed: a transaction that will be rolled back is seen in the store of a ledger in memory."""
        await eventually(lambda: offset in self.runner.positions().get(PREDICTIONS.name, {}).values())

    @property
    def store(self) -> dict[Any, Any]:
        return self.ledger.store


def test_who_has_handled_everything_is_not_behind() -> None:
    assert Lags().of({PLACE: Standing(7, None, 1_000)}, {PLACE: 7}, 9_000) == {PREDICTIONS.name: Lag(0, 0.0)}


def test_partitions_count_together_and_the_oldest_record_decides() -> None:
    found = Lags().of({PLACE: Standing(5, 4_000), OTHER: Standing(0, 1_000)}, {PLACE: 7, OTHER: 10}, 9_000)
    assert found == {PREDICTIONS.name: Lag(12, 8.0)}


def test_a_first_record_after_a_long_silence_is_not_as_old_as_the_silence() -> None:
    assert Lags().of({PLACE: Standing(5, None, 1_000)}, {PLACE: 6}, 3_601_000)[PREDICTIONS.name] == Lag(1, 0.0)


def test_between_two_polls_the_oldest_is_hardly_younger_than_the_last_that_was_handled() -> None:
    lags = Lags()
    lags.of({PLACE: Standing(5, 1_000, None)}, {PLACE: 9}, 2_000)
    assert lags.of({PLACE: Standing(7, None, 31_000)}, {PLACE: 9}, 61_000)[PREDICTIONS.name] == Lag(2, 30.0)


def test_a_clock_behind_the_logs_makes_no_negative_lag() -> None:
    assert Lags().of({PLACE: Standing(5, 9_000)}, {PLACE: 6}, 8_000)[PREDICTIONS.name] == Lag(1, 0.0)


async def test_a_runner_stands_at_its_oldest_record_until_that_has_its_effects() -> None:
    room = Room(most=0)
    room.put(range(3))
    task = asyncio.create_task(room.runner.run())
    place, record = next((place, records[0]) for place, records in room.log.partitions.items() if records)
    await eventually(lambda: room.runner.standings().get(place) == Standing(0, record.timestamp_ms, None))
    room.most = 10
    await eventually(lambda: room.runner.standings()[place].next_offset == 3)
    assert room.runner.standings()[place].handled_ms is not None
    room.runner.stop()
    await asyncio.wait_for(task, 10)


async def test_a_tail_stands_behind_what_it_has_heard() -> None:
    log = MemoryLog()
    heard: list[str] = []

    class Ears:
        async def on_command(self, event: Event[CommandGiven]) -> list[AnyEvent]:
            heard.append(event.id)
            return []

    data = CommandGiven(command="freeze", model="m", given_by="ann", reason="r")
    log.append(encode(first(data, id="c1", time=NOON), "console"))
    tail = Tail(log, [COMMANDS], [on(CommandGiven, Ears.on_command)], Ears())
    task = asyncio.create_task(tail.run())
    await eventually(lambda: heard == ["c1"])
    assert tail.standings()[COMMANDS.name, 0].next_offset == 1
    tail.stop()
    await asyncio.wait_for(task, 10)


async def test_what_does_not_get_through_in_its_time_is_taken_in_smaller_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("driftloop_bus.partition.TOO_LONG_S", 0.01)
    room = Room(most=6)
    room.put(range(100))
    task = asyncio.create_task(room.runner.run())
    await room.until_at(100)
    room.runner.stop()
    await asyncio.wait_for(task, 10)
    assert room.store["heard"] == [f"p{number}" for number in range(100)]
    assert max(room.store["sizes"]) <= 6


async def test_slices_grow_again_once_they_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftloop_bus.partition.TOO_LONG_S", 0.01)
    room = Room(most=6)
    room.put(range(50))
    task = asyncio.create_task(room.runner.run())
    await room.until_at(50)
    room.most = 1_000
    room.put(range(50, 2_000))
    await room.until_at(2_000)
    room.runner.stop()
    await asyncio.wait_for(task, 10)
    assert room.store["heard"] == [f"p{number}" for number in range(2_000)]
    assert max(room.store["sizes"]) > 100
