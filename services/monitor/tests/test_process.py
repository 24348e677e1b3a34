"""The monitor as a process on the real Kafka and Postgres: everything comes twice, and it is killed half-way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from services.monitor.tests.test_the_circle import BAD, GOOD
from services.monitor.tests.world import (
    MODEL,
    Day,
    at,
    challenger,
    command,
    days,
    declared,
    deployed,
    loss_to_hold,
    of,
    served,
)

from driftloop_bus.codec import decode, encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.testing import everything
from driftloop_contracts import AnyEvent, Fact, first
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.loop import ChallengerJudged, DriftDetected, MeasurementTaken, RetrainRequested, RollupClosed
from driftloop_contracts.topics import (
    DRIFT,
    JUDGEMENTS,
    MEASUREMENTS,
    OUTCOMES,
    PREDICTIONS,
    RETRAINING,
    ROLLUPS,
    Topic,
)
from driftloop_kit.testing import ServiceProcess, running

pytestmark = pytest.mark.stack
TURN, SHADOWED, DAYS = 2, 6, 15
BOTH = Day(skill={"1": -0.3, "2": 0.5})


class Topics:
    """The topics around the monitor."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka

    def say(self, service: str, *events: AnyEvent, times: int = 2) -> None:
        """Each event is on its topic, so often: consumers must expect that."""
        self.send([encode(event, service) for event in events for _ in range(times)])

    def say_data(self, events: Sequence[AnyEvent]) -> None:
        """Predictions and outcomes, each twice."""
        self.send(
            [encode(e, "serving" if isinstance(e.data, PredictionMade) else "outside") for e in events for _ in (1, 2)]
        )

    def send(self, records: Sequence[Outgoing]) -> None:
        """Acked by the broker."""
        asyncio.run(self._send(records))

    def ends(self, *topics: Topic) -> dict[tuple[str, int], int]:
        """Where the topics end now."""
        return asyncio.run(self._ends([topic.name for topic in topics]))

    def events(self, topic: Topic, kind: type[Fact]) -> list[AnyEvent]:
        """The topic's events that say this."""
        return of(kind, [decode(record) for record in asyncio.run(self._read(topic.name))])

    async def _send(self, records: Sequence[Outgoing]) -> None:
        log = KafkaLog(self._kafka, "test")
        producer = await log.producer()
        for start in range(0, len(records), 2000):
            await producer.send(records[start : start + 2000])
        await log.close()

    async def _ends(self, names: Sequence[str]) -> dict[tuple[str, int], int]:
        log = KafkaLog(self._kafka, "test")
        ends = await log.end_offsets(names)
        await log.close()
        return ends

    async def _read(self, name: str) -> list[Record]:
        log = KafkaLog(self._kafka, "test")
        records = await everything(log, name)
        await log.close()
        return records


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("monitor")


@pytest.fixture
def monitor(kafka: str, service_database: Callable[[str], str], folder: Path) -> Iterator[ServiceProcess]:
    with running("monitor", kafka, folder, service_database("monitor")) as service:
        yield service


def caught_up(monitor: ServiceProcess, topics: Topics) -> bool:
    """The monitor has committed everything that is on the two data topics."""
    positions = monitor.page("/ready")["positions"]
    ends = topics.ends(PREDICTIONS, OUTCOMES)
    return all(positions.get(topic, {}).get(str(partition), 0) >= end for (topic, partition), end in ends.items())


def tell(topics: Topics, since: int, until: int) -> None:
    """These days of the story are on the topics."""
    story = days(DAYS, lambda day: GOOD if day < TURN else BAD if day < SHADOWED else BOTH)
    topics.say_data([event for event in story if at(since) <= event.time < at(until)])


def compared(monitor: ServiceProcess, topics: Topics) -> None:
    """A challenger stands beside the champion."""
    topics.say("registry", deployed(2, served("1", 0, loss_to_hold(mean=0.08)), SHADOWED, challenger("2", SHADOWED)))
    monitor.until(lambda: monitor.page(f"/models/{MODEL}")["rollout"], "comparing")


def test_the_whole_story_on_the_real_log_though_all_comes_twice_and_it_is_killed(
    monitor: ServiceProcess, kafka: str
) -> None:
    topics = Topics(kafka)
    topics.say("registry", declared(), deployed(1, served("1", 0, loss_to_hold(mean=0.08)), 0))
    topics.send([Outgoing(PREDICTIONS.name, MODEL.encode(), b"{not json", ())])
    monitor.until(lambda: (monitor.page(f"/models/{MODEL}") or {}).get("version") == "1", "deployed")
    tell(topics, 0, 4)
    monitor.until(lambda: monitor.page("/ready")["positions"], "reading")
    # While it reads what was just said, or right after: each is a moment at which a power cut may come.
    monitor.kill()
    monitor.again()
    tell(topics, 4, SHADOWED)
    monitor.until(lambda: caught_up(monitor, topics), "caught up")
    compared(monitor, topics)
    tell(topics, SHADOWED, DAYS + 1)
    monitor.until(lambda: caught_up(monitor, topics), "caught up")
    (alarm,) = monitor.until(lambda: topics.events(DRIFT, DriftDetected), "alarmed")
    (wish,) = monitor.until(lambda: topics.events(RETRAINING, RetrainRequested), "asked")
    looks = monitor.until(lambda: topics.events(JUDGEMENTS, ChallengerJudged), "judged")
    assert wish.causation == alarm.id
    assert {event.data.verdict for event in looks} == {"better"}
    assert len({event.id for event in looks}) == 1
    assert {(place.topic, place.partition) for place in wish.data.window.offsets} <= set(
        topics.ends(PREDICTIONS, OUTCOMES)
    )
    assert max(place.end for place in wish.data.window.offsets if place.topic == OUTCOMES.name) > 0
    assert [incident["name"] for incident in monitor.page("/incidents")] == ["brier"]
    assert monitor.page(f"/models/{MODEL}/losses")
    measured = Counter(event.id for event in topics.events(MEASUREMENTS, MeasurementTaken))
    assert len(measured) > 50
    assert monitor.stop() == 0


def test_a_command_before_its_declaration_waits_for_it(monitor: ServiceProcess, kafka: str) -> None:
    topics = Topics(kafka)
    before = {event.id for event in topics.events(RETRAINING, RetrainRequested)}
    topics.say("console", command(until_days=0))
    topics.say("registry", declared(at_days=-2))
    asked = monitor.until(
        lambda: [e for e in topics.events(RETRAINING, RetrainRequested) if e.id not in before], "asked"
    )
    assert {event.causation for event in asked} == {"command-retrain"}


def test_rollups_sum_measurements_by_event_time_and_end_when_told(kafka: str, folder: Path) -> None:
    topics, model = Topics(kafka), "rolled-up"
    every_30_s = [
        MeasurementTaken(
            model=model, version="1", signal="rows", n=10, mean=float(i), window_start=at(0), window_end=at(i / 2880)
        )
        for i in range(21)
    ]
    topics.say(
        "monitor", *[first(one, id=f"rows-{i}", time=one.window_end) for i, one in enumerate(every_30_s)], times=1
    )

    def rolled_up() -> list[RollupClosed]:
        found = [event.data for event in topics.events(ROLLUPS, RollupClosed) if event.data.model == model]
        return found if len(found) == 12 else []

    with ServiceProcess("monitor", kafka, folder, words=["rollups"]) as rollups:
        found = rollups.until(rolled_up, "rolled up")
        assert rollups.stop() == 0
    minutes = sorted((one.window_start, one.n, one.mean) for one in found if one.width_s == 60)
    assert minutes == [(at(minute / 1440), 20, 2 * minute + 0.5) for minute in range(10)]
    five = sorted((one.window_start, one.n, one.mean) for one in found if one.width_s == 300)
    assert five == [(at(0), 100, 4.5), (at(5 / 1440), 100, 14.5)]
