"""When a topic counts as silent."""

import asyncio

import pytest

from driftloop_bus.ports import Outgoing
from driftloop_bus.testing import MemoryLog, eventually
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS
from monitor.silence import Ends
from monitor.started import STATE_TOPICS, Started

PLACES = [(PREDICTIONS.name, 0), (OUTCOMES.name, 0)]


async def a_log() -> MemoryLog:
    log = MemoryLog()
    producer = await log.producer()
    await producer.send([Outgoing(name, b"k", b"v", (), 0) for name, _ in PLACES for _ in range(3)])
    return log


async def test_a_topic_is_silent_once_all_is_read_that_was_there_after_the_suspicion() -> None:
    ends, log = Ends(), await a_log()
    watching = asyncio.create_task(ends.watch(log))
    ends.suspect("late", PLACES, 7)
    all_read = dict.fromkeys(PLACES, 3)
    await eventually(lambda: ends.proven("late", all_read) or not ends.suspects(), within_s=5)
    assert ends.suspects() == []
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_before_the_ends_are_known_nothing_is_proven() -> None:
    ends = Ends()
    ends.suspect("late", PLACES, 7)
    assert not ends.proven("late", dict.fromkeys(PLACES, 10**9))
    ends.acquit("late")
    assert ends.suspects() == []


async def test_data_may_be_read_once_declarations_are_read_to_where_they_ended_at_the_start() -> None:
    log, started = MemoryLog(), Started()
    producer = await log.producer()
    await producer.send([Outgoing(name, b"k", b"v", (), 0) for name in STATE_TOPICS])
    assert not started.declared({})
    await started.look(log)
    assert not started.declared({(STATE_TOPICS[0], 0): 1})
    assert started.declared({(name, 0): 1 for name in STATE_TOPICS})
