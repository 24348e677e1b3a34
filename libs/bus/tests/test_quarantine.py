"""A record that kills its reader is found out, alone, and everything else has its effects."""

from __future__ import annotations

import asyncio

import pytest
from libs.bus.tests.test_runner import Room, command, prediction

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Claim, Record
from driftloop_bus.quarantine import HOPELESS_DEATHS, is_guilty, is_suspicious
from driftloop_bus.runner import on_batch
from driftloop_bus.testing import MemoryLedger, MemoryLog, eventually
from driftloop_contracts import AnyEvent
from driftloop_contracts.topics import PREDICTIONS

SOMETHING = Record("t", 0, 5, 0, None, b"")


class Death(BaseException):
    """The process ends here: nothing that runs catches it."""


def kills(reason: str) -> None:
    if reason == "killer":
        raise Death


async def life(room: Room, until: int) -> bool:
    """One process: whether it died before it came so far."""
    task = asyncio.create_task(room.runner.run())
    there = asyncio.create_task(room.until_at(until))
    await asyncio.wait({task, there}, return_when=asyncio.FIRST_COMPLETED)
    there.cancel()
    if task.done():
        assert isinstance(task.exception(), Death)
        return True
    room.runner.stop()
    await task
    return False


async def lives(log: MemoryLog, ledger: MemoryLedger, until: int) -> tuple[int, Room]:
    """How many processes died before one came so far; and that one."""
    for deaths in range(10):
        room = Room(log=log, ledger=ledger, fails=kills)
        if not await life(room, until):
            return deaths, room
    raise AssertionError("nobody survived")


async def test_a_record_that_kills_its_reader_is_parked_by_reference_and_all_others_have_their_effects() -> None:
    room = Room()
    room.put(*(command(reason) for reason in ("a", "b", "killer", "c", "d")))
    deaths, last = await lives(room.log, room.ledger, 5)
    assert last.heard() == ["a", "b", "c", "d"] == last.answers()
    # Twice among others, twice alone.
    assert deaths == 4
    (letter,) = last.dead()
    assert (letter["dead_error"], letter["dead_by_reference"], letter["dead_offset"]) == ("Killer", "1", "2")
    assert "its reader died 2 times" in letter["dead_message"]
    assert last.published("commands.v1.registry.dead")[0].value == b""


async def test_who_is_careful_takes_one_record_after_the_other_and_then_as_many_as_there_are() -> None:
    room = Room()
    room.put(*(command(str(number)) for number in range(30)))
    for _ in range(2):
        await room.ledger.claim("commands.v1", 0)
    async with room.running():
        await room.until_at(30)
        assert "careful" in room.kinds()
        room.put(*(command(str(number)) for number in range(30, 60)))
        await room.until_at(60)
    handled = [note.records for note in room.notes if note.kind == "handled"]
    assert handled[:30] == [1] * 30
    assert sum(handled) == 60
    assert len(handled) < 60
    assert room.heard() == [str(number) for number in range(60)]


async def test_who_stops_or_loses_its_partition_alive_makes_nobody_careful() -> None:
    room = Room()
    for _ in range(5):
        room = Room(log=room.log, ledger=room.ledger)
        async with room.running():
            await eventually(lambda room=room: "claimed" in room.kinds())
    assert "careful" not in room.kinds()


async def test_a_record_that_only_fails_while_it_is_alone_kills_nobody() -> None:
    failing = True

    def not_yet(reason: str) -> None:
        if failing:
            raise TryAgain("the declaration is not here yet")

    room = Room(fails=not_yet)
    room.put(command("a"), command("b"))
    for _ in range(2):
        await room.ledger.claim("commands.v1", 0)
    async with room.running():
        await eventually(lambda: room.kinds().count("tried_again") >= 2)
        assert room.ledger.state.trails["commands.v1", 0].begun_at == -1
        failing = False
        await room.until_at(2)
    assert room.heard() == ["a", "b"]
    assert room.dead() == []


async def test_a_flood_among_records_taken_one_by_one_loses_none() -> None:
    def breaks(reason: str) -> None:
        if reason.startswith("odd"):
            raise ZeroDivisionError

    room = Room(fails=breaks)
    room.put(command("a"), *(command(f"odd {number}") for number in range(25)), command("b"))
    for _ in range(2):
        await room.ledger.claim("commands.v1", 0)
    async with room.running():
        await eventually(lambda: "flooded" in room.kinds(), 60)
        assert room.runner.positions() == {"commands.v1": {0: 21}}
        assert room.runner.resume("commands.v1", 0)
        assert not room.runner.resume("commands.v1", 0)
        await eventually(lambda: room.runner.positions() == {"commands.v1": {0: 27}}, 60)
    assert room.heard() == ["a", "b"]
    assert len(room.dead()) == 25


async def test_a_hot_topic_is_taken_one_by_one_as_well() -> None:
    seen: list[int] = []

    async def hears(handlers: object, batch: PredictionBatch) -> list[AnyEvent]:
        seen.append(len(batch))
        return []

    room = Room([on_batch(PREDICTIONS, hears)], service="monitor")
    (partition,) = {room.log.append(prediction(number))[0] for number in range(10)}
    for _ in range(2):
        await room.ledger.claim("predictions.v1", partition)
    async with room.running():
        await room.until_at(10, "predictions.v1", partition)
    assert seen == [1] * 10


@pytest.mark.parametrize(
    ("claims", "deaths", "suspicious", "proven"),
    [(1, 0, False, False), (2, 0, False, False), (3, 0, True, False), (1, 1, True, False), (1, 2, True, True)],
)
async def test_a_claim_says_how_careful_to_be(claims: int, deaths: int, suspicious: bool, proven: bool) -> None:
    claim = Claim("t", 0, 9, 5, claims, deaths)
    assert (is_suspicious(claim), await is_guilty(claim, SOMETHING, None)) == (suspicious, proven)


async def test_a_record_that_its_trial_kills_is_guilty_and_is_tried_after_two_deaths_only() -> None:
    tried: list[Record] = []

    async def dies(record: Record) -> bool:
        tried.append(record)
        return False

    assert not await is_guilty(Claim("t", 0, 9, 5, 3, 1), SOMETHING, dies)
    assert tried == []
    assert await is_guilty(Claim("t", 0, 9, 5, 3, 2), SOMETHING, dies)
    assert tried == [SOMETHING]


async def test_whoever_kills_readers_makes_no_record_guilty_that_survives_its_trial() -> None:
    tried: list[int] = []

    async def survives(record: Record) -> bool:
        tried.append(record.offset)
        return True

    killing = True

    def killed_from_outside(reason: str) -> None:
        if killing:
            raise Death

    log, ledger = MemoryLog(), MemoryLedger()
    log.append(command("a"))
    for _ in range(HOPELESS_DEATHS // 2):
        assert await life(Room(log=log, ledger=ledger, fails=killed_from_outside, trial=survives), 1)
    killing = False
    room = Room(log=log, ledger=ledger, trial=survives)
    assert not await life(room, 1)
    assert room.heard() == ["a"]
    assert room.dead() == []
    # Neither the first two lives nor the first two that took it alone had cause to try it.
    assert tried == [0] * (HOPELESS_DEATHS // 2 - 3)


async def test_readers_do_not_die_over_a_record_for_ever() -> None:
    async def survives(record: Record) -> bool:
        return True

    assert await is_guilty(Claim("t", 0, 9, 5, 3, HOPELESS_DEATHS), SOMETHING, survives)
