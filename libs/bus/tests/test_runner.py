"""What the runner promises, on the log and the ledger in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.codec import decode, encode
from driftloop_bus.errors import BadMessage, TryAgain
from driftloop_bus.observer import Note
from driftloop_bus.ports import Outgoing, Transaction
from driftloop_bus.routes import Route
from driftloop_bus.runner import Runner, every, on, on_batch, on_every
from driftloop_bus.testing import MemoryLedger, MemoryLog, eventually
from driftloop_bus.testing.log_contract import nobody
from driftloop_contracts import AnyEvent, Event, caused, first
from driftloop_contracts.control_plane import CommandGiven, CommandRefused, ModelRetired
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.loop import RetrainRequested, RetrainSuppressed, TrainingWindow
from driftloop_contracts.topics import COMMANDS, PREDICTIONS

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


class Registry:
    """A toy: counts commands, answers each, and fails as it is told to."""

    def __init__(self, tx: Transaction, fails: Callable[[str], None]) -> None:
        self.store: dict[Any, Any] = tx.connection
        self.fails = fails

    async def on_command(self, event: Event[CommandGiven]) -> list[AnyEvent]:
        self.store["heard"] = [*self.store.get("heard", []), event.data.reason]
        self.fails(event.data.reason)
        refused = CommandRefused(model=event.data.model, command=event.data.command, reason=event.data.reason)
        return [caused(refused, event.as_cause())]

    async def on_retired(self, event: Event[ModelRetired]) -> list[AnyEvent]:
        self.store["retired"] = self.store.get("retired", 0) + 1
        return []

    async def on_tick(self, now: datetime) -> list[AnyEvent]:
        assert now.tzinfo is not None
        self.store["ticks"] = self.store.get("ticks", 0) + 1
        self.fails("tick")
        return []

    async def on_anything(self, event: AnyEvent) -> list[AnyEvent]:
        self.store["anything"] = [*self.store.get("anything", []), type(event.data).__name__]
        return []


def well(reason: str) -> None:
    """Nothing fails."""


def command(reason: str, model: str = "m") -> Outgoing:
    data = CommandGiven(command="freeze", model=model, given_by="ann", reason=reason)
    return encode(first(data, id=f"id-{reason}", time=NOON), "console")


def prediction(number: int, model: str = "m", value: float | None = None) -> Outgoing:
    features: dict[str, Any] = {"x": float(number) if value is None else value}
    data = PredictionMade(prediction_id=f"p{number}", model=model, features=features)
    return encode(first(data, id=f"id-{number}", time=NOON + timedelta(seconds=number)), "serving")


class Room:
    """A runner with all that it talks to."""

    def __init__(self, routes: Sequence[Route[Any]] | None = None, **options: Any) -> None:
        self.log, self.ledger = options.pop("log", None) or MemoryLog(), options.pop("ledger", None) or MemoryLedger()
        self.notes: list[Note] = []
        self.woken = 0
        service, fails = options.pop("service", "registry"), options.pop("fails", well)
        self.runner: Runner[Any] = Runner(
            service,
            service,
            self.log,
            self.ledger,
            options.pop("handlers", None) or (lambda tx: Registry(tx, fails)),
            routes or [on(CommandGiven, Registry.on_command)],
            observe=self.notes.append,
            wake=self._wake,
            poll_wait_ms=20,
            **options,
        )

    def _wake(self) -> None:
        self.woken += 1

    def put(self, *records: Outgoing) -> None:
        for record in records:
            self.log.append(record)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.runner.run())
        try:
            yield
        finally:
            self.runner.stop()
            await asyncio.wait_for(task, 10)

    async def until_at(self, offset: int, topic: str = "commands.v1", partition: int = 0) -> None:
        await eventually(lambda: self.runner.positions().get(topic, {}).get(partition) == offset)

    def heard(self) -> list[str]:
        return list(self.ledger.store.get("heard", []))

    def published(self, topic: str) -> list[Outgoing]:
        return [row.record for row in self.ledger.state.outbox if row.record.topic == topic]

    def answers(self) -> list[str]:
        return [json.loads(record.value)["reason"] for record in self.published("registry.v1")]

    def dead(self, topic: str = "commands.v1.registry.dead") -> list[dict[str, str]]:
        return [{name: value.decode() for name, value in record.headers} for record in self.published(topic)]

    def kinds(self) -> list[str]:
        return [note.kind for note in self.notes]


async def test_what_follows_is_committed_with_the_effects_and_the_offset() -> None:
    room = Room()
    room.put(command("a"), command("b"))
    async with room.running():
        await room.until_at(2)
    assert room.heard() == ["a", "b"] == room.answers()
    assert room.woken >= 1
    event = decode_outgoing(room.published("registry.v1")[0])
    assert (event.causation, event.time, event.source) == ("id-a", NOON, "/services/registry")


async def test_the_same_event_twice_has_its_effects_once() -> None:
    room = Room()
    room.put(command("a"), command("a"), command("b"))
    async with room.running():
        await room.until_at(3)
        room.put(command("a"))
        await room.until_at(4)
    assert room.heard() == ["a", "b"]


async def test_a_compacted_topic_goes_by_revision_and_not_by_the_inbox() -> None:
    room = Room([on(ModelRetired, Registry.on_retired)])
    again = encode(first(ModelRetired(model="m", reason="", retired_by="a"), id="1", time=NOON), "registry")
    room.put(again, again)
    async with room.running():
        await room.until_at(2, "declarations.v1")
    assert room.ledger.store["retired"] == 2


async def test_another_instance_goes_on_where_the_first_stopped() -> None:
    room = Room()
    room.put(command("a"))
    async with room.running():
        await room.until_at(1)
    room.put(command("b"))
    later = Room(log=room.log, ledger=room.ledger)
    async with later.running():
        await later.until_at(2)
    assert later.heard() == ["a", "b"]


async def test_what_can_not_be_decoded_is_parked_untouched_and_the_rest_goes_on() -> None:
    room = Room(version="1.2")
    room.put(command("a"), Outgoing("commands.v1", b"m", b"nonsense", (("ce_type", b"driftloop.x.v1"),)), command("b"))
    async with room.running():
        await room.until_at(3)
    assert room.heard() == ["a", "b"]
    letter = room.published("commands.v1.registry.dead")[0]
    assert (letter.key, letter.value) == (b"m", b"nonsense")
    headers = room.dead()[0]
    assert headers["ce_type"] == "driftloop.x.v1"
    assert (headers["dead_topic"], headers["dead_partition"], headers["dead_offset"]) == ("commands.v1", "0", "1")
    assert (headers["dead_group"], headers["dead_service_version"]) == ("registry", "1.2")
    assert headers["dead_error"] == "BadMessage"


@pytest.mark.parametrize("topic", ["commands.v1", "predictions.v1"])
async def test_what_breaks_the_decoder_itself_is_parked_too(topic: str) -> None:
    async def counts(handlers: Registry, batch: PredictionBatch) -> list[AnyEvent]:
        handlers.store["rows"] = handlers.store.get("rows", 0) + len(batch)
        return []

    # A header that is no bytes is what no log can hold: it stands for whatever our decoding does not foresee.
    odd = Outgoing(topic, b"m", b"{}", (("ce_id", 5), ("ce_type", b"driftloop.command.given.v1")))  # type: ignore[arg-type]
    worse = Outgoing(topic, b"m", b"{}", (("ce_id", 5), ("ce_type", b"driftloop.prediction.made.v1")))  # type: ignore[arg-type]
    if topic == "commands.v1":
        room = Room()
        room.put(command("a"), odd, command("b"))
        async with room.running():
            await room.until_at(3)
        assert room.heard() == ["a", "b"]
    else:
        room = Room([on_batch(PREDICTIONS, counts)], service="monitor")
        good = prediction(1)
        partition, _ = room.log.append(good)
        room.put(Outgoing(topic, b"m", b"{}", worse.headers, partition))
        room.put(prediction(2))
        async with room.running():
            await room.until_at(3, topic, partition)
        assert room.ledger.store["rows"] == 2
    (letter,) = room.published(f"{topic}.{'registry' if topic == 'commands.v1' else 'monitor'}.dead")
    assert dict(letter.headers)["dead_error"] == b"AttributeError"


async def test_a_record_that_a_handler_refuses_is_parked_alone() -> None:
    def refuses(reason: str) -> None:
        if reason == "odd":
            raise BadMessage("odd is not allowed")

    room = Room(fails=refuses)
    room.put(*(command(name) for name in ("a", "b", "odd", "c", "d")))
    async with room.running():
        await room.until_at(5)
    assert room.heard() == ["a", "b", "c", "d"] == room.answers()
    assert [letter["dead_message"] for letter in room.dead()] == ["odd is not allowed"]


async def test_a_parked_record_can_be_redriven_under_its_id() -> None:
    broken = True

    def refuses(reason: str) -> None:
        if broken:
            raise BadMessage("not yet understood")

    room = Room(fails=refuses)
    room.put(command("a"))
    async with room.running():
        await room.until_at(1)
        broken = False
        room.put(command("a"))
        await room.until_at(2)
    assert room.heard() == ["a"]


async def test_a_bug_is_tried_three_times_then_parked_with_its_traceback_and_everything_else_has_its_effects() -> None:
    tries = 0

    def breaks(reason: str) -> None:
        nonlocal tries
        if reason == "bug":
            tries += 1
            raise ZeroDivisionError("one over none")

    room = Room(fails=breaks)
    room.put(*(command(name) for name in ("a", "b", "bug", "c", "d")))
    async with room.running():
        await room.until_at(5)
    assert room.heard() == ["a", "b", "c", "d"] == room.answers()
    (letter,) = room.dead()
    assert (letter["dead_error"], letter["dead_attempts"]) == ("ZeroDivisionError", "3")
    assert "breaks" in letter["dead_traceback"]
    assert tries >= 3
    assert room.kinds().count("bug") == 2


async def test_a_bug_that_passes_parks_nothing() -> None:
    left = 2

    def breaks(reason: str) -> None:
        nonlocal left
        if left:
            left -= 1
            raise ZeroDivisionError

    room = Room(fails=breaks)
    room.put(command("a"), command("b"))
    async with room.running():
        await room.until_at(2)
    assert room.heard() == ["a", "b"]
    assert room.dead() == []


async def test_try_again_waits_without_parking_and_without_half_effects() -> None:
    left = 3

    def not_yet(reason: str) -> None:
        nonlocal left
        if reason == "b" and left:
            left -= 1
            raise TryAgain("the declaration is not here yet")

    room = Room(fails=not_yet)
    room.put(command("a"), command("b"))
    async with room.running():
        await eventually(lambda: room.runner.waiting_for is not None)
        assert "the declaration is not here yet" in (room.runner.waiting_for or "")
        await room.until_at(2)
        assert room.runner.waiting_for is None
    assert room.heard() == ["a", "b"] == room.answers()
    assert room.dead() == []
    assert room.kinds().count("tried_again") == 3


async def test_a_partition_that_waits_does_not_hold_up_another() -> None:
    open_again = asyncio.Event()

    async def heard(handlers: Registry, batch: PredictionBatch) -> list[AnyEvent]:
        if batch.partition == 0 and not open_again.is_set():
            raise TryAgain("waits")
        handlers.store[batch.partition] = handlers.store.get(batch.partition, 0) + len(batch)
        return []

    room = Room([on_batch(PREDICTIONS, heard)], service="monitor")
    for partition in (0, 1, 2):
        record = prediction(partition)
        room.put(Outgoing(record.topic, record.key, record.value, record.headers, partition=partition))
    async with room.running():
        await room.until_at(1, "predictions.v1", 1)
        await room.until_at(1, "predictions.v1", 2)
        room.put(Outgoing(record.topic, record.key, record.value, (), partition=1))
        await room.until_at(2, "predictions.v1", 1)
        assert 0 not in room.ledger.store
        open_again.set()
        await room.until_at(1, "predictions.v1", 0)
    assert room.ledger.store == {0: 1, 1: 2, 2: 1}


async def test_a_commit_whose_answer_was_lost_is_not_repeated() -> None:
    room = Room()
    room.put(command("a"))
    async with room.running():
        await room.until_at(1)
        room.ledger.lose_next_answers = 1
        room.put(command("b"))
        await room.until_at(2)
        room.put(command("c"))
        await room.until_at(3)
    assert room.heard() == ["a", "b", "c"] == room.answers()
    assert "fenced" not in room.kinds()


async def test_a_database_that_is_away_is_waited_for() -> None:
    room = Room()
    room.ledger.away = True
    room.put(command("a"))
    async with room.running():
        await eventually(lambda: "the database is away" in (room.runner.waiting_for or ""))
        room.ledger.away = False
        await room.until_at(1)
    assert room.heard() == ["a"]


async def test_who_is_fenced_drops_the_partition_and_claims_it_again_only_after_a_while() -> None:
    room = Room(rejoin_after_s=0.3)
    room.put(command("a"))
    async with room.running():
        await room.until_at(1)
        usurper = await room.ledger.claim("commands.v1", 0)
        async with room.ledger.batch(usurper, 1, 2):
            pass
        room.put(command("theirs"), command("ours"))
        await eventually(lambda: "fenced" in room.kinds())
        assert room.runner.positions() == {}
        assert room.runner.waiting_for is not None
        await room.until_at(3)
    assert room.heard() == ["a", "ours"]


async def test_who_wakes_up_and_is_given_a_partition_that_another_has_claimed_holds_back_as_well() -> None:
    room = Room(rejoin_after_s=0.5)
    room.put(command("a"))
    async with room.running():
        await room.until_at(1)
        usurper = await room.ledger.claim("commands.v1", 0)
        await rebalanced(room)
        assert room.runner.waiting_for is not None
        await asyncio.sleep(0.2)
        assert await room.ledger.current(usurper) == replace(usurper, next_offset=1)
        room.put(command("b"))
        await room.until_at(2)
    assert room.heard() == ["a", "b"]
    assert "fenced" not in room.kinds()


async def test_who_is_given_its_own_partition_again_goes_on_at_once() -> None:
    room = Room(rejoin_after_s=60.0)
    room.put(command("a"))
    async with room.running():
        await room.until_at(1)
        await rebalanced(room)
        room.put(command("b"))
        await room.until_at(2)
    assert room.heard() == ["a", "b"]


async def rebalanced(room: Room) -> None:
    """Somebody came and went: what was assigned is revoked and assigned anew."""
    before = room.kinds().count("claimed")
    other = await room.log.consumer(["commands.v1"], "registry", nobody, nobody)
    await other.close()
    await eventually(lambda: room.kinds().count("claimed") > before or not room.runner.positions())


async def test_twenty_bad_ones_in_a_row_pause_the_partition_until_somebody_resumes_it() -> None:
    room = Room()
    room.put(command("a"), *[Outgoing("commands.v1", b"m", b"nonsense")] * 50, command("b"))
    async with room.running():
        await eventually(lambda: "flooded" in room.kinds())
        assert room.runner.positions() == {"commands.v1": {0: 21}}
        assert "20 in a row" in room.runner.paused()["commands.v1", 0]
        assert len(room.dead()) == 20
        room.runner.resume("commands.v1", 0)
        await eventually(lambda: room.kinds().count("flooded") == 2)
        room.runner.resume("commands.v1", 0)
        await room.until_at(52)
    assert room.heard() == ["a", "b"]
    assert len(room.dead()) == 50


async def test_a_handler_that_refuses_everything_floods_as_well() -> None:
    def refuses(reason: str) -> None:
        raise BadMessage("a broken deploy")

    room = Room(fails=refuses)
    room.put(*(command(str(number)) for number in range(100)))
    async with room.running():
        await eventually(lambda: "flooded" in room.kinds())
    assert len(room.dead()) == 20
    assert room.heard() == []


async def test_more_than_one_per_cent_of_a_thousand_is_a_flood_and_less_is_not() -> None:
    room = Room()
    bad = Outgoing("commands.v1", b"m", b"nonsense")
    room.put(*(bad if number % 150 == 7 else command(str(number)) for number in range(1500)))
    async with room.running():
        await room.until_at(1500)
        assert room.runner.paused() == {}
        room.put(*(bad if number % 20 == 7 else command(f"more {number}") for number in range(1000)))
        await eventually(lambda: "flooded" in room.kinds())
    assert 10 < len(room.dead()) <= 22


async def test_types_that_nobody_hears_are_skipped_and_tombstones_too() -> None:
    room = Room([on(ModelRetired, Registry.on_retired)])
    retired = encode(first(ModelRetired(model="m", reason="", retired_by="a"), id="1", time=NOON), "registry")
    view = Outgoing("declarations.v1", b"k", b"{}", (("ce_id", b"2"), ("ce_type", b"driftloop.view.declared.v1")))
    room.put(retired)
    room.log.append(Outgoing("declarations.v1", b"m", None, retired.headers))  # type: ignore[arg-type]  # a tombstone
    room.put(retired)
    async with room.running():
        await room.until_at(3, "declarations.v1")
    assert room.ledger.store["retired"] == 2
    assert view.topic == "declarations.v1"


async def test_every_event_of_a_topic_can_be_heard() -> None:
    room = Room([on_every(COMMANDS, Registry.on_anything), on(CommandGiven, Registry.on_command)])
    room.put(command("a"))
    async with room.running():
        await room.until_at(1)
    assert room.ledger.store["anything"] == ["CommandGiven"]
    assert room.heard() == ["a"]


async def test_the_clock_ticks_in_transactions_beside_the_topics() -> None:
    room = Room([every(0.01, Registry.on_tick), on(CommandGiven, Registry.on_command)])
    room.put(command("a"))
    async with room.running():
        await eventually(lambda: room.ledger.store.get("ticks", 0) >= 3)
        await room.until_at(1)


async def test_a_tick_that_fails_is_told_and_comes_again() -> None:
    left = 1

    def breaks(reason: str) -> None:
        nonlocal left
        if left:
            left -= 1
            raise ZeroDivisionError

    room = Room([every(0.01, Registry.on_tick)], fails=breaks)
    async with room.running():
        await eventually(lambda: room.ledger.store.get("ticks", 0) >= 2)
    assert room.kinds()[0] == "bug"


async def test_the_log_is_told_where_we_are() -> None:
    room = Room()
    room.put(command("a"))
    async with room.running():
        await room.until_at(1)
    assert room.log.hints == {("registry", "commands.v1", 0): 1}


async def test_a_log_that_lost_its_end_stops_the_partition() -> None:
    room = Room()
    room.put(command("a"), command("b"))
    async with room.running():
        await room.until_at(2)
    room.log.partitions["commands.v1", 0].clear()
    later = Room(log=room.log, ledger=room.ledger)
    async with later.running():
        await eventually(lambda: "gap" in later.kinds())
        assert "OffsetGap" in later.runner.paused()["commands.v1", 0]
    assert room.heard() == ["a", "b"]


async def test_routes_that_contradict_the_catalogue_are_refused() -> None:
    async def ignored(handlers: Registry, event: Any) -> list[AnyEvent]:
        return []

    with pytest.raises(LookupError, match=r"travels on \['predictions.v1'\]"):
        Room([on(PredictionMade, ignored)])
    with pytest.raises(ValueError, match="choose one"):
        Room([on_batch(PREDICTIONS, ignored), on_every(PREDICTIONS, ignored)], service="monitor")


class Counter:
    """A toy with a memory: says so each time when a model's running sum passes another hundred."""

    def __init__(self, tx: Transaction) -> None:
        self.store: dict[Any, Any] = tx.connection

    async def on_predictions(self, batch: PredictionBatch) -> list[AnyEvent]:
        follows: list[AnyEvent] = []
        for model, part in batch.by_model().items():
            for row, value in enumerate(part.features["x"].tolist()):
                if value < 0:
                    raise BadMessage("negative")
                before = self.store.get(model, 0.0)
                self.store[model] = before + value
                if before // 100 < self.store[model] // 100:
                    follows.append(caused(asked(model), part.cause(row)))
        return follows


def asked(model: str) -> RetrainRequested:
    return RetrainRequested(model=model, reason="enough", window=TrainingWindow(until=NOON))


def decode_outgoing(record: Outgoing) -> AnyEvent:
    log = MemoryLog()
    log.append(record)
    return decode(log.records(record.topic)[-1])


async def what_follows(records: Sequence[Outgoing], max_records: int) -> tuple[list[str], dict[Any, Any], int]:
    room = Room(
        [on_batch(PREDICTIONS, Counter.on_predictions)], service="monitor", handlers=Counter, max_records=max_records
    )
    room.put(*records)
    ends = await room.log.end_offsets(["predictions.v1"])
    async with room.running():
        for (topic, partition), end in ends.items():
            await room.until_at(end, topic, partition)
    asked_for = [decode_outgoing(record) for record in room.published("retraining.v1")]
    dead = len(room.published("predictions.v1.monitor.dead"))
    return sorted(event.id for event in asked_for), dict(room.ledger.store), dead


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-2, 90)), min_size=1, max_size=40),
    st.integers(1, 50),
)
def test_however_the_log_is_cut_the_same_events_follow(rows: list[tuple[str, int]], max_records: int) -> None:
    records = [prediction(number, model, float(value)) for number, (model, value) in enumerate(rows)]
    # Negative ones are refused by the handler, and every third one comes twice.
    again = [record for number, record in enumerate(records) for _ in range(2 if number % 3 == 0 else 1)]
    whole = asyncio.run(what_follows(again, 10_000))
    assert asyncio.run(what_follows(again, max_records)) == whole
    sums = {model: sum(float(v) for name, v in rows if name == model and v >= 0) for model, _ in rows}
    assert {model: total for model, total in whole[1].items() if total} == {m: t for m, t in sums.items() if t}


async def test_a_suppressed_request_is_an_event_like_any_other() -> None:
    room = Room([on(RetrainSuppressed, Registry.on_anything)])
    event = first(RetrainSuppressed(model="m", reason="cool-down"), id="1", time=NOON)
    room.put(encode(event, "monitor"))
    async with room.running():
        await room.until_at(1, "retraining.v1")
    assert room.ledger.store["anything"] == ["RetrainSuppressed"]
