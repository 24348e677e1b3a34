"""What every log owes, as tests. A subclass says how to open one: `open_log`, and names for topics that exist."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Consumer, Log, Outgoing, Record, TopicPartition
from driftloop_bus.testing.waiting import raised


async def nobody(partitions: Collection[TopicPartition]) -> None:
    """Nobody wants to know."""


async def read(consumer: Consumer, count: int, within_s: float = 30.0, max_records: int = 500) -> list[Record]:
    """The next records, at least so many. Raises TimeoutError when they don't come."""
    found: list[Record] = []
    async with asyncio.timeout(within_s):
        while len(found) < count:
            for one in await consumer.poll(max_records, 200):
                found.extend(one.records)
    return found


class LogContract:
    """Subclass it, implement the three openers, and its tests are yours."""

    async def open_log(self) -> Log:
        """An open log; the test closes it."""
        raise NotImplementedError

    async def new_topic(self, partitions: int) -> str:
        """A topic that exists, empty, with so many partitions."""
        raise NotImplementedError

    def new_group(self) -> str:
        """A group that nobody used."""
        raise NotImplementedError

    async def test_what_was_sent_is_read_in_order_with_all_that_it_had(self) -> None:
        log, topic = await self.open_log(), await self.new_topic(1)
        sent = [Outgoing(topic, b"k", b"%d" % n, (("a", b"1"), ("b", b"2"))) for n in range(50)]
        acks = await (await log.producer()).send(sent)
        assert acks == [(0, n) for n in range(50)]
        records = await read(await log.consumer([topic], None, nobody, nobody), 50)
        assert [record.value for record in records] == [one.value for one in sent]
        assert {record.headers for record in records} == {sent[0].headers}
        assert {record.key for record in records} == {b"k"}
        await log.close()

    async def test_a_key_keeps_its_partition_on_every_topic_of_as_many(self) -> None:
        log, topics = await self.open_log(), [await self.new_topic(4), await self.new_topic(4)]
        producer = await log.producer()
        keys = [b"key-%d" % n for n in range(40)]
        first, second = [await producer.send([Outgoing(topic, key, b"x") for key in keys]) for topic in topics]
        assert [partition for partition, _ in first] == [partition for partition, _ in second]
        assert len({partition for partition, _ in first}) == 4
        chosen = await producer.send([Outgoing(topics[0], keys[0], b"x", partition=n) for n in range(4)])
        assert [partition for partition, _ in chosen] == [0, 1, 2, 3]
        await log.close()

    async def test_a_poll_returns_at_once_when_something_arrives(self) -> None:
        log, topic = await self.open_log(), await self.new_topic(1)
        producer, consumer = await log.producer(), await log.consumer([topic], None, nobody, nobody)
        await producer.send([Outgoing(topic, b"k", b"warm")])
        await read(consumer, 1)
        poll = asyncio.create_task(consumer.poll(500, 10_000))
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await producer.send([Outgoing(topic, b"k", b"now")])
        assert [one.records[0].value for one in await poll] == [b"now"]
        assert time.monotonic() - started < 2
        await log.close()

    async def test_an_empty_poll_ends_after_its_wait(self) -> None:
        log, topic = await self.open_log(), await self.new_topic(1)
        consumer = await log.consumer([topic], None, nobody, nobody)
        assert await asyncio.wait_for(consumer.poll(500, 50), 10) == []
        await log.close()

    async def test_no_poll_returns_more_than_asked_for(self) -> None:
        log, topic = await self.open_log(), await self.new_topic(2)
        await (await log.producer()).send([Outgoing(topic, b"%d" % n, b"x") for n in range(40)])
        consumer = await log.consumer([topic], None, nobody, nobody)
        counts = [sum(len(one.records) for one in await consumer.poll(7, 500)) for _ in range(10)]
        assert max(counts) <= 7
        assert max(counts) > 0
        await log.close()

    async def test_a_seek_decides_what_comes_next(self) -> None:
        log, topic = await self.open_log(), await self.new_topic(1)
        await (await log.producer()).send([Outgoing(topic, b"k", b"%d" % n) for n in range(10)])
        consumer = await log.consumer([topic], self.new_group(), nobody, nobody)
        await read(consumer, 10)
        consumer.seek(topic, 0, 6)
        assert [record.offset for record in await read(consumer, 4)] == [6, 7, 8, 9]
        assert await consumer.positions() == {(topic, 0): 10}
        await log.close()

    async def test_a_paused_partition_keeps_still_and_goes_on_where_it_stood(self) -> None:
        log, topic = await self.open_log(), await self.new_topic(2)
        producer, consumer = await log.producer(), await log.consumer([topic], None, nobody, nobody)
        await producer.send([Outgoing(topic, None, b"a", partition=0), Outgoing(topic, None, b"b", partition=1)])
        await read(consumer, 2)
        consumer.pause([(topic, 0)])
        await producer.send([Outgoing(topic, None, b"c", partition=0), Outgoing(topic, None, b"d", partition=1)])
        assert [record.value for record in await read(consumer, 1)] == [b"d"]
        assert await consumer.poll(500, 300) == []
        consumer.resume([(topic, 0)])
        assert [record.value for record in await read(consumer, 1)] == [b"c"]
        await log.close()

    async def test_without_a_group_everything_is_read_from_the_beginning(self) -> None:
        log, topic = await self.open_log(), await self.new_topic(3)
        await (await log.producer()).send([Outgoing(topic, b"%d" % n, b"%d" % n) for n in range(30)])
        for _ in range(2):
            consumer = await log.consumer([topic], None, nobody, nobody)
            assert {record.value for record in await read(consumer, 30)} == {b"%d" % n for n in range(30)}
            assert consumer.assignment() == {(topic, 0), (topic, 1), (topic, 2)}
            assert await consumer.end_offsets() == await log.end_offsets([topic])
        await log.close()

    async def test_a_group_shares_equal_partition_numbers_of_its_topics(self) -> None:
        log, topics, group = await self.open_log(), [await self.new_topic(4), await self.new_topic(4)], self.new_group()
        told: list[Collection[TopicPartition]] = []

        async def heard(partitions: Collection[TopicPartition]) -> None:
            told.append(partitions)

        members = [await log.consumer(topics, group, heard, nobody) for _ in range(2)]
        async with asyncio.timeout(60):
            while not all(len(member.assignment()) == 4 for member in members):
                await asyncio.gather(*(member.poll(10, 100) for member in members))
        assert not members[0].assignment() & members[1].assignment()
        for member in members:
            numbers = {topic: {number for name, number in member.assignment() if name == topic} for topic in topics}
            assert numbers[topics[0]] == numbers[topics[1]]
        assert told
        await members[0].close()
        async with asyncio.timeout(60):
            while len(members[1].assignment()) < 8:
                await members[1].poll(10, 100)
        await log.close()

    async def test_who_never_seeks_starts_at_the_last_hint_of_its_group(self) -> None:
        log, topic, group = await self.open_log(), await self.new_topic(1), self.new_group()
        await (await log.producer()).send([Outgoing(topic, b"k", b"%d" % n) for n in range(5)])
        consumer = await log.consumer([topic], group, nobody, nobody)
        await read(consumer, 5)
        await consumer.hint({(topic, 0): 3})
        await consumer.close()
        later = await log.consumer([topic], group, nobody, nobody)
        assert [record.offset for record in await read(later, 2)] == [3, 4]
        await log.close()

    async def test_a_missing_topic_is_waited_for_with_the_reason(self) -> None:
        log = await self.open_log()
        topic = f"missing-{self.new_group()}"
        consumer = await log.consumer([topic], self.new_group(), nobody, nobody)
        assert await asyncio.wait_for(consumer.poll(500, 100), 20) == []
        assert topic in (consumer.waiting_for or "")
        await raised(TryAgain, log.end_offsets([topic]))
        await raised(TryAgain, (await log.producer()).send([Outgoing(topic, b"k", b"x")]))
        await log.close()
