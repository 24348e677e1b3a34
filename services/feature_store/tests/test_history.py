"""From the log to the history: each row once, whatever dies; what can't be read is put away, and nothing waits for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from services.feature_store.tests.world import alone, came_true, observed, packed, predicted

from driftloop_bus.errors import BadMessage, TryAgain
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.testing import MemoryLog, eventually
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from feature_store.history import History, old
from feature_store.tables import Tables

GARBAGE = Outgoing(OUTCOMES.name, b"lateness", b"\xff", (("ce_id", b"g"),), partition=0)


class Unlucky(Tables):
    """Tables whose next appends go wrong: before they happen, or after."""

    before = 0
    after = 0

    def append(self, topic: str, rows: Any, moved: Any) -> None:
        if self.before:
            self.before -= 1
            raise TryAgain("the store is away")
        super().append(topic, rows, moved)
        if self.after:
            self.after -= 1
            raise TryAgain("the store went away before it answered")


class Bench:
    """A log, its history, and what was parked."""

    def __init__(self, folder: Path) -> None:
        self.url = (folder / "history").as_uri()
        self.log, self.tables = MemoryLog(), Unlucky(self.url)
        self.parked: list[Record] = []
        self.history = History(self.tables)
        self.postgres_away = False

    async def park(self, bad: Sequence[tuple[Record, BadMessage]]) -> None:
        if self.postgres_away:
            raise TryAgain("the database is away")
        self.parked += [record for record, _ in bad]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[History]:
        """A process that keeps the history, killed at the end of the block."""
        self.history = History(self.tables)
        task = asyncio.create_task(self.history.run(self.log, self.park))
        try:
            yield self.history
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def covered(self) -> None:
        """Everything on the log is stored."""
        async with asyncio.timeout(20):
            await self.history.cover(self.ends())

    def ends(self) -> dict[tuple[str, int], int]:
        topics = {PREDICTIONS.name, OUTCOMES.name, OBSERVATIONS.name}
        return {place: len(records) for place, records in self.log.partitions.items() if place[0] in topics and records}

    def ids(self, topic: str = PREDICTIONS.name, column: str = "prediction_id") -> list[str]:
        """What is stored, in log order."""
        tables = Tables(self.url)
        found = tables.rows(topic, tables.versions()[topic.split(".")[0]])
        in_order = found.sort_by([("partition", "ascending"), ("offset", "ascending"), ("row", "ascending")])
        ids: list[str] = in_order[column].to_pylist()
        return ids


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def put(bench: Bench, numbers: range) -> list[str]:
    for number in numbers:
        bench.log.append(alone(predicted(number, number)))
    return [f"lateness/{number}" for number in numbers]


async def test_packed_records_and_single_ones_become_rows_once(bench: Bench) -> None:
    bench.log.append(packed([predicted(number, number) for number in range(100)]))
    put(bench, range(100, 110))
    bench.log.append(alone(came_true(1, 2)))
    bench.log.append(packed([observed(hour, 1.0) for hour in range(5)]))
    async with bench.running():
        await bench.covered()
    assert bench.ids() == [f"lateness/{number}" for number in range(110)]
    assert bench.ids(OUTCOMES.name) == ["lateness/1"]
    assert len(bench.ids(OBSERVATIONS.name, "event_id")) == 5


async def test_a_process_that_is_killed_after_an_append_goes_on_behind_it(bench: Bench) -> None:
    first = put(bench, range(10))
    async with bench.running():
        await bench.covered()
    second = put(bench, range(10, 20))
    async with bench.running() as history:
        await bench.covered()
        assert history.positions()[PREDICTIONS.name] == {p: end for (t, p), end in bench.ends().items()} | {
            p: 0 for p in range(4) if (PREDICTIONS.name, p) not in bench.ends()
        }
    assert bench.ids() == first + second


async def test_what_gathered_but_was_not_stored_is_read_again_after_a_kill(bench: Bench) -> None:
    expected = put(bench, range(10))
    async with bench.running() as history:
        await eventually(lambda: history.rows_waiting() == 10)
    assert bench.ids() == []
    async with bench.running():
        await bench.covered()
    assert bench.ids() == expected


async def test_the_broker_is_told_of_every_append_also_where_rows_come_all_the_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_store.history.MAX_ROWS", 1)
    async with bench.running() as history:
        for number in range(5):
            put(bench, range(number, number + 1))
            await eventually(lambda: history.positions().get(PREDICTIONS.name) == stored(bench))
        await eventually(lambda: hinted(bench) == {place: end for place, end in bench.ends().items() if end})


def stored(bench: Bench) -> dict[int, int]:
    """Where everything that is on the log is stored."""
    return dict.fromkeys(range(4), 0) | {part: end for (_, part), end in bench.ends().items()}


def hinted(bench: Bench) -> dict[tuple[str, int], int]:
    """What the broker was told, where there is something."""
    return {(topic, part): end for (_, topic, part), end in bench.log.hints.items() if end}


@pytest.mark.parametrize(
    ("oldest_s", "newest_s", "due"), [(1, 1, False), (6, 0.1, False), (6, 1.1, True), (29, 0.1, False), (31, 0.1, True)]
)
def test_rows_wait_for_each_other_while_more_come_and_not_for_long(oldest_s: float, newest_s: float, due: bool) -> None:
    assert old(oldest_s, newest_s) == due


async def test_a_store_that_is_away_costs_time_and_no_row(bench: Bench) -> None:
    bench.tables.before = 2
    expected = put(bench, range(10))
    async with bench.running():
        await bench.covered()
    assert bench.ids() == expected


async def test_an_append_that_happened_without_an_answer_is_not_repeated(bench: Bench) -> None:
    bench.tables.after = 1
    expected = put(bench, range(10))
    async with bench.running():
        await bench.covered()
        expected += put(bench, range(10, 15))
        await bench.covered()
    assert bench.ids() == expected


async def test_a_bad_record_among_good_ones_is_put_away_and_the_rest_goes_on(bench: Bench) -> None:
    bench.log.append(alone(came_true(1, 1)))
    for record in (alone(came_true(2, 2)), GARBAGE, alone(came_true(3, 3))):
        bench.log.append(record)
    async with bench.running():
        await bench.covered()
    assert sorted(bench.ids(OUTCOMES.name)) == ["lateness/1", "lateness/2", "lateness/3"]
    assert [record.value for record in bench.parked] == [b"\xff"]


async def test_a_partition_of_nothing_but_bad_records_is_covered(bench: Bench) -> None:
    bench.log.append(GARBAGE)
    async with bench.running():
        await bench.covered()
    async with bench.running():
        await bench.covered()
    assert len(bench.parked) == 1


async def test_bad_observations_are_left_to_the_runner_which_reads_them_too(bench: Bench) -> None:
    bench.log.append(Outgoing(OBSERVATIONS.name, b"weather/EWR", b"\xff", (), partition=0))
    async with bench.running():
        await bench.covered()
    assert bench.parked == []


async def test_while_nothing_can_be_parked_nothing_is_stored_and_then_all_of_it(bench: Bench) -> None:
    bench.postgres_away = True
    bench.log.append(GARBAGE)
    bench.log.append(alone(came_true(1, 1)))
    async with bench.running() as history:
        await eventually(lambda: history.waiting_for == "the database is away")
        assert bench.ids(OUTCOMES.name) == []
        bench.postgres_away = False
        await bench.covered()
        assert history.waiting_for is None
    assert bench.ids(OUTCOMES.name) == ["lateness/1"]


async def test_covering_waits_for_what_is_not_on_the_log_yet(bench: Bench) -> None:
    async with bench.running() as history:
        waiting = asyncio.create_task(history.cover({(PREDICTIONS.name, 0): 1}))
        await eventually(lambda: 0 in history.positions().get(PREDICTIONS.name, {}))
        assert not waiting.done()
        bench.log.append(
            Outgoing(PREDICTIONS.name, b"k", alone(predicted(1, 1)).value, alone(predicted(1, 1)).headers, 0)
        )
        await asyncio.wait_for(waiting, 10)


async def test_covering_counts_what_another_instance_has_stored(bench: Bench) -> None:
    put(bench, range(5))
    async with bench.running():
        await bench.covered()
    await asyncio.wait_for(History(Tables(bench.url)).cover(bench.ends()), 10)


async def test_two_instances_share_the_partitions_and_no_row_is_stored_twice(bench: Bench) -> None:
    models = [f"m{number}" for number in range(12)]
    for model, number in itertools.product(models, range(5)):
        bench.log.append(alone(predicted(number, number, model=model)))
    async with bench.running():
        await bench.covered()
        for model, number in itertools.product(models, range(5, 10)):
            bench.log.append(alone(predicted(number, number, model=model)))
        other = History(Tables(bench.url))
        task = asyncio.create_task(other.run(bench.log, bench.park))
        await bench.covered()
        for model, number in itertools.product(models, range(10, 15)):
            bench.log.append(alone(predicted(number, number, model=model)))
        await bench.covered()
        task.cancel()
        await asyncio.wait({task})
    assert sorted(bench.ids()) == sorted(f"{model}/{number}" for model, number in itertools.product(models, range(15)))
