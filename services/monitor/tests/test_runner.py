"""The monitor under the real runner, on a log and a ledger in memory that fail as the real ones do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.monitor.tests.test_the_circle import BAD, GOOD
from services.monitor.tests.world import MODEL, days, declared, deployed, loss_to_hold, of, served

from driftloop_bus.codec import decode, encode
from driftloop_bus.ports import Outgoing, Transaction
from driftloop_bus.runner import Runner, on, on_batch
from driftloop_bus.testing import MemoryLedger, MemoryLog, eventually
from driftloop_contracts import AnyEvent
from driftloop_contracts.control_plane import DeploymentChanged, ModelDeclared
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.loop import DriftDetected, RetrainRequested
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS, dead_letters
from monitor.handlers import Monitor
from monitor.notes import Notes
from monitor.silence import Ends
from monitor.started import Started
from monitor.store.memory import MemoryDocuments, MemoryPositions, MemoryRows, MemoryStates
from monitor.store.memory_features import MemoryBlocks, MemoryReferences, MemoryTallies
from monitor.store.shelf import Shelf

DAYS = 9


class Place:
    """A log with a story on it, a ledger, and a monitor that reads it."""

    def __init__(self, times: int) -> None:
        self.log, self.ledger = MemoryLog(), MemoryLedger()
        self.started, self.notes = Started(), Notes()
        self.say("registry", [declared(), deployed(1, served("1", 0, loss_to_hold(mean=0.08)), 0)], times)
        story = days(DAYS, lambda day: GOOD if day < 3 else BAD)
        self.say("serving", [event for event in story if isinstance(event.data, PredictionMade)], times)
        self.say("outside", [event for event in story if not isinstance(event.data, PredictionMade)], times)

    def say(self, service: str, events: Sequence[AnyEvent], times: int = 1) -> None:
        """Each event is on its topic, so often."""
        for event in events:
            for _ in range(times):
                self.log.append(encode(event, service))

    def handlers(self, tx: Transaction) -> Monitor:
        """Of one transaction."""
        store = tx.connection
        offsets = {place: offset for place, (_, offset) in self.ledger.state.offsets.items()}
        return Monitor(
            MemoryStates(store), MemoryRows(store), MemoryDocuments(store), MemoryPositions(offsets), MemoryBlocks(store),
            MemoryTallies(store), MemoryReferences(store, Shelf()), self.started, Ends(), self.notes,
        )  # fmt: skip

    async def read(self, max_records: int = 300) -> list[AnyEvent]:
        """Everything has its effects; what the monitor said."""
        await self.started.look(self.log)
        routes = [
            on_batch(PREDICTIONS, Monitor.on_predictions),
            on_batch(OUTCOMES, Monitor.on_outcomes),
            on(DeploymentChanged, Monitor.on_deployment_changed),
            on(ModelDeclared, Monitor.on_model_declared),
        ]
        runner: Runner[Monitor] = Runner(
            "monitor", "monitor", self.log, self.ledger, self.handlers, routes, max_records=max_records
        )
        running = asyncio.create_task(runner.run())
        await eventually(lambda: self._all_read(runner.positions()), within_s=50)
        runner.stop()
        await running
        return [decoded(row.record) for row in self.ledger.state.outbox if not row.record.topic.endswith(".dead")]

    def _all_read(self, positions: dict[str, dict[int, int]]) -> bool:
        topics = (PREDICTIONS.name, OUTCOMES.name)
        ends = {place: len(records) for place, records in self.log.partitions.items() if place[0] in topics}
        return all(positions.get(topic, {}).get(number, 0) >= end for (topic, number), end in ends.items())


def decoded(record: Outgoing) -> AnyEvent:
    """What an outbox row says."""
    log = MemoryLog({record.topic: 1})
    log.append(record)
    return decode(log.records(record.topic)[0])


def ids(events: Sequence[AnyEvent]) -> set[str]:
    return {event.id for event in events}


async def test_every_message_twice_a_commit_whose_answer_is_lost_and_a_bad_record_change_nothing() -> None:
    calm, rough = Place(times=1), Place(times=2)
    rough.log.append(Outgoing(OUTCOMES.name, MODEL.encode(), b"{not json", ()))
    rough.ledger.lose_next_answers = 3
    said, again = await calm.read(), await rough.read(max_records=170)
    assert len(of(DriftDetected, said)) == len(of(RetrainRequested, said)) == 1
    assert ids(again) == ids(said)
    parked = [row for row in rough.ledger.state.outbox if row.record.topic == dead_letters(OUTCOMES.name, "monitor")]
    assert len(parked) == 1


async def test_data_that_is_read_before_its_declaration_is_not_lost() -> None:
    place = Place(times=1)
    # Small polls: data is there long before declarations and deployments are read to their end.
    said = await place.read(max_records=40)
    assert len(of(DriftDetected, said)) == 1
    assert place.notes.undeclared() == {}


async def test_a_request_names_every_partition_that_was_read_and_as_far() -> None:
    place = Place(times=1)
    (wish,) = of(RetrainRequested, await place.read())
    named = {(one.topic, one.partition): one.end for one in wish.data.window.offsets}
    everything = {where: len(records) for where, records in place.log.partitions.items()}
    assert set(named) == {where for where in everything if where[0] in (PREDICTIONS.name, OUTCOMES.name)}
    assert all(0 <= end <= everything[where] for where, end in named.items())
    outcomes = [r for r in place.log.records(OUTCOMES.name) if decode(r).time <= wish.data.window.until]
    assert all(record.offset < named[OUTCOMES.name, record.partition] for record in outcomes)
