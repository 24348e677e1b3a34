"""The one module that knows aiokafka: `ports.Log` on a real broker, and the administration of topics.

Nothing here gives up. A producer that fails is replaced, a consumer waits for its topics and its broker and says so, and
whoever called is told TryAgain.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from driftloop_bus import ports
from driftloop_bus.backoff import Backoff
from driftloop_bus.errors import DriftloopError, TryAgain
from driftloop_bus.ports import Ack, Assigned, Outgoing, Record, Slice

# The delivery limit as well: a leader move takes up to 14 s.
REQUEST_MS: Final = 30_000
SEND_DEADLINE_S: Final = 30.0
# Idempotent sequence numbers wrap wrongly at 2^31 - 1; no producer lives long enough to get there.
PRODUCER_LIFE_S: Final = 7 * 86_400.0
# The broker answers a fetch as soon as there is a byte. This is how long a partition that was just resumed may have to wait.
FETCH_WAIT_MS: Final = 200
# A dead letter is a record of up to the broker's 1 MiB with some more headers.
MAX_REQUEST_BYTES: Final = 2 * 1024 * 1024
START_DEADLINE_S: Final = 15.0
ANSWER_DEADLINE_S: Final = 5.0
TOPIC_DEADLINE_S: Final = 2.0
# After so much silence we ask whether the broker is still there, to be able to say why nothing comes.
LOOK_AFTER_S: Final = 5.0
EXISTS_ALREADY: Final = 36
UNKNOWN_TOPIC: Final = 3


class KafkaLog:
    """Kafka at these bootstrap servers. Made without a connection; each producer and consumer finds its own way."""

    def __init__(
        self,
        bootstrap: str,
        client_id: str,
        *,
        instance: str | None = None,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        """instance: the name of this process in its groups, unique among those that run: it restarts without a rebalance,
        and takes its partitions back at once after a crash.

        security: aiokafka's settings of that kind, for every client.
        """
        _quiet_down()
        self._common = {"bootstrap_servers": bootstrap, "client_id": client_id, **(security or {})}
        self._instance = instance
        self._open: list[_KafkaProducer | _KafkaConsumer] = []
        self._ends = _Ends(self._common)

    async def producer(self, linger_ms: int = 0) -> ports.Producer:
        """As `ports.Log`. Streams of many (linger above 0) are compressed with zstd."""
        made = _KafkaProducer(self._common, linger_ms)
        self._open.append(made)
        return made

    async def consumer(
        self, topics: Sequence[str], group: str | None, on_assigned: Assigned, on_revoked: Assigned
    ) -> ports.Consumer:
        """As `ports.Log`."""
        made = _KafkaConsumer(self._common, self._instance, topics, group, on_assigned, on_revoked)
        self._open.append(made)
        return made

    async def end_offsets(self, topics: Sequence[str]) -> dict[ports.TopicPartition, int]:
        """As `ports.Log`."""
        return await self._ends.of(topics)

    async def close(self) -> None:
        """As `ports.Log`."""
        for one in reversed(self._open):
            await one.close()
        self._open.clear()
        await self._ends.close()


class _Ends:
    """Asks where partitions end, over one connection that is kept: a barrier asks hundreds of times."""

    def __init__(self, common: Mapping[str, Any]) -> None:
        self._common = common
        self._client: AIOKafkaConsumer | None = None
        self._counts: dict[str, int] = {}
        self._asking = asyncio.Lock()

    async def of(self, topics: Sequence[str]) -> dict[ports.TopicPartition, int]:
        """The offset after the last record of each partition. Raises TryAgain; the next call connects anew."""
        async with self._asking:
            try:
                client = await self._connected(topics)
                places = [TopicPartition(topic, number) for topic in topics for number in range(self._counts[topic])]
                return _plain(await _in_time(client.end_offsets(places)))
            except TryAgain:
                await self.close()
                raise

    async def close(self) -> None:
        """Nothing is connected."""
        self._counts.clear()
        if self._client is not None:
            client, self._client = self._client, None
            await _ended(client)

    async def _connected(self, topics: Sequence[str]) -> AIOKafkaConsumer:
        if missing := [topic for topic in topics if topic not in self._counts]:
            self._counts |= await partition_counts(self._common, missing)
        if self._client is None:
            client = AIOKafkaConsumer(**self._common, isolation_level="read_committed")
            try:
                await _in_time(client.start(), START_DEADLINE_S)
            except TryAgain:
                await _ended(client)
                raise
            self._client = client
        return self._client


class _KafkaProducer:
    def __init__(self, common: Mapping[str, Any], linger_ms: int) -> None:
        self._settings = {
            **common,
            "acks": "all",
            "enable_idempotence": True,
            "request_timeout_ms": REQUEST_MS,
            "linger_ms": linger_ms,
            "max_request_size": MAX_REQUEST_BYTES,
            "compression_type": "zstd" if linger_ms else None,
        }
        self._client: AIOKafkaProducer | None = None
        self._made_at = 0.0
        self._timeouts = 0
        self._known: set[str] = set()
        self._starting = asyncio.Lock()

    async def send(self, records: Sequence[Outgoing]) -> list[Ack]:
        client = await self._ready()
        await self._check_topics(client, {record.topic for record in records})
        try:
            acks = await asyncio.wait_for(_sent(client, records), SEND_DEADLINE_S)
        except TimeoutError as error:
            await self._timed_out(client)
            raise TryAgain(f"no ack within {SEND_DEADLINE_S:g} s: it may have been written or not") from error
        except KafkaError as error:
            # After some errors a producer stays broken for good; a new one costs a round trip.
            await self._replace(client)
            raise TryAgain(f"the broker refused: {_said(error)}") from error
        self._timeouts = 0
        return acks

    async def close(self) -> None:
        if self._client is not None:
            await self._replace(self._client)

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._client is not None and time.monotonic() - self._made_at > PRODUCER_LIFE_S:
                await self._replace(self._client)
            if self._client is None:
                self._client = await self._made()
            return self._client

    async def _made(self) -> AIOKafkaProducer:
        client = AIOKafkaProducer(**self._settings)
        started = False
        try:
            await _in_time(client.start(), START_DEADLINE_S)
            started = True
        finally:
            if not started:
                await client.stop()
        self._made_at = time.monotonic()
        return client

    async def _check_topics(self, client: AIOKafkaProducer, topics: set[str]) -> None:
        """aiokafka would look for a missing topic for 30 s, and hold up everything behind it."""
        for topic in sorted(topics - self._known):
            try:
                await asyncio.wait_for(client.partitions_for(topic), TOPIC_DEADLINE_S)
            except (TimeoutError, KafkaError) as error:
                raise TryAgain(f"topic {topic} is missing, or the broker is away") from error
            self._known.add(topic)

    async def _timed_out(self, client: AIOKafkaProducer) -> None:
        # The first time the broker is just away, and its batches go out when it is back; twice, the client may be stuck.
        self._timeouts += 1
        if self._timeouts > 1:
            await self._replace(client)

    async def _replace(self, client: AIOKafkaProducer) -> None:
        if self._client is client:
            self._client, self._timeouts = None, 0
            self._known.clear()
            await _ended(client)


class _KafkaConsumer:
    def __init__(
        self,
        common: Mapping[str, Any],
        instance: str | None,
        topics: Sequence[str],
        group: str | None,
        on_assigned: Assigned,
        on_revoked: Assigned,
    ) -> None:
        self._common, self._topics, self._group = common, list(topics), group
        self._settings = {
            **common,
            "group_id": group,
            "group_instance_id": instance if group else None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "partition_assignment_strategy": (RangePartitionAssignor,),
            "session_timeout_ms": 30_000,
            "rebalance_timeout_ms": 30_000,
            "max_poll_interval_ms": 60_000,
            "request_timeout_ms": REQUEST_MS,
            "fetch_max_wait_ms": FETCH_WAIT_MS,
            "max_partition_fetch_bytes": MAX_REQUEST_BYTES,
        }
        self._listener = _Listener(on_assigned, on_revoked)
        self._client: AIOKafkaConsumer | None = None
        self._starting: asyncio.Task[AIOKafkaConsumer] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._retry_at = 0.0
        self._heard_at = 0.0
        self._reason: str | None = "connecting to the broker"

    async def poll(self, max_records: int, wait_ms: int) -> list[Slice]:
        client = await self._ready(wait_ms / 1000)
        if client is None:
            return []
        try:
            # During a rebalance aiokafka waits longer than it was asked to. Not wait_for: before Python 3.12 it swallows a
            # cancellation that comes together with the records.
            async with asyncio.timeout(wait_ms / 1000 + 1):
                found = await client.getmany(timeout_ms=wait_ms, max_records=max_records)
        except TimeoutError:
            found = {}
        except KafkaError as error:
            await self._give_up(f"the broker refused: {_said(error)}")
            found = {}
        self._look(bool(found))
        return [_slice(place, messages) for place, messages in found.items() if messages]

    def seek(self, topic: str, partition: int, offset: int) -> None:
        place = TopicPartition(topic, partition)
        if self._client is not None and place in self._client.assignment():
            self._client.seek(place, offset)

    def pause(self, partitions: Collection[ports.TopicPartition]) -> None:
        if self._client is not None and (ours := self._ours(partitions)):
            self._client.pause(*ours)

    def resume(self, partitions: Collection[ports.TopicPartition]) -> None:
        if self._client is not None and (ours := self._ours(partitions)):
            self._client.resume(*ours)

    async def hint(self, next_offsets: Mapping[ports.TopicPartition, int]) -> None:
        ours = self._ours(next_offsets)
        if self._client is None or not ours:
            raise TryAgain("none of the partitions is ours now")
        await _in_time(self._client.commit({place: next_offsets[place.topic, place.partition] for place in ours}))

    async def end_offsets(self) -> dict[ports.TopicPartition, int]:
        if self._client is None:
            raise TryAgain(self._reason or "not connected")
        return _plain(await _in_time(self._client.end_offsets(list(self._client.assignment()))))

    async def positions(self) -> dict[ports.TopicPartition, int]:
        if self._client is None:
            return {}
        places = sorted(self._client.assignment())
        found = await asyncio.gather(*(self._position(self._client, place) for place in places))
        return {(p.topic, p.partition): offset for p, offset in zip(places, found, strict=True) if offset is not None}

    def assignment(self) -> frozenset[ports.TopicPartition]:
        if self._client is None:
            return frozenset()
        return frozenset((place.topic, place.partition) for place in self._client.assignment())

    @property
    def waiting_for(self) -> str | None:
        return self._reason

    async def close(self) -> None:
        if self._looking is not None:
            await _cancelled(self._looking)
        if self._starting is not None:
            await _cancelled(self._starting)
            if not self._starting.cancelled() and self._starting.exception() is None:
                await _ended(self._starting.result())
        self._starting = self._looking = None
        if self._client is not None:
            client, self._client = self._client, None
            await _ended(client)

    async def _ready(self, wait_s: float) -> AIOKafkaConsumer | None:
        """The connected client, or None when it is not there within the time."""
        if self._client is not None:
            return self._client
        if self._starting is None:
            if (left := self._retry_at - time.monotonic()) > 0:
                await asyncio.sleep(min(left, wait_s))
                return None
            self._starting = asyncio.create_task(self._started())
        done, _ = await asyncio.wait({self._starting}, timeout=wait_s)
        if not done:
            return None
        task, self._starting = self._starting, None
        try:
            self._client = task.result()
        except TryAgain as error:
            self._postpone(error.message)
            return None
        self._backoff.reset()
        self._heard_at = time.monotonic()
        self._reason = None
        return self._client

    async def _started(self) -> AIOKafkaConsumer:
        """A client that has joined, or that has every partition. Raises TryAgain when broker or topics are not there."""
        counts = await partition_counts(self._common, self._topics)
        client = AIOKafkaConsumer(**self._settings)
        started = False
        try:
            await _in_time(client.start(), START_DEADLINE_S)
            if self._group is not None:
                client.subscribe(self._topics, listener=self._listener)
            else:
                places = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
                client.assign(places)
                await self._listener.on_partitions_assigned(places)
            started = True
        finally:
            if not started:
                await client.stop()
        return client

    async def _give_up(self, reason: str) -> None:
        """The client is left behind and a new one is made, after a while."""
        client, self._client = self._client, None
        self._postpone(reason)
        if client is not None:
            await self._listener.on_partitions_revoked(client.assignment())
            await _ended(client)

    def _postpone(self, reason: str) -> None:
        self._reason, self._retry_at = reason, time.monotonic() + self._backoff.next_s()

    def _look(self, heard: bool) -> None:
        """After silence somebody asks, beside the polls, whether broker and topics are there."""
        now = time.monotonic()
        if heard:
            self._heard_at, self._reason = now, None
        elif now - self._heard_at > LOOK_AFTER_S and (self._looking is None or self._looking.done()):
            self._heard_at = now
            self._looking = asyncio.create_task(self._look_around())

    async def _look_around(self) -> None:
        try:
            await partition_counts(self._common, self._topics)
        except TryAgain as error:
            self._reason = error.message
            return
        self._reason = None

    async def _position(self, client: AIOKafkaConsumer, place: TopicPartition) -> int | None:
        try:
            return int(await asyncio.wait_for(client.position(place), 1.0))
        except (TimeoutError, KafkaError):
            # Not known yet, or not ours any more.
            return None

    def _ours(self, partitions: Collection[ports.TopicPartition]) -> list[TopicPartition]:
        assigned = self._client.assignment() if self._client is not None else set()
        return [place for topic, number in partitions if (place := TopicPartition(topic, number)) in assigned]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    def __init__(self, on_assigned: Assigned, on_revoked: Assigned) -> None:
        self._on_assigned, self._on_revoked = on_assigned, on_revoked

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._on_assigned([(place.topic, place.partition) for place in assigned])

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._on_revoked([(place.topic, place.partition) for place in revoked])


async def partition_counts(common: Mapping[str, Any], topics: Sequence[str]) -> dict[str, int]:
    """Topic to number of partitions, every one with a leader. Raises TryAgain that names what is missing."""
    async with _admin(common) as admin:
        found = await _in_time(admin.describe_topics(list(topics)))
    counts = {one["topic"]: len(one["partitions"]) for one in found if _is_led(one)}
    if missing := [topic for topic in topics if topic not in counts]:
        raise TryAgain(f"topics are missing: {', '.join(missing[:10])}", missing=missing)
    return counts


async def create_topics(
    common: Mapping[str, Any], wanted: Mapping[str, tuple[int, Mapping[str, str]]], copies: int
) -> list[str]:
    """The topics (partitions, settings) exist; returns those that were made. Raises DriftloopError when one is refused."""
    async with _admin(common) as admin:
        new = [NewTopic(name, count, copies, topic_configs=dict(config)) for name, (count, config) in wanted.items()]
        answer = await _in_time(admin.create_topics(new), SEND_DEADLINE_S)
    # Nothing is raised for a topic that is refused: the errors stand in the answer.
    refused = {name: code for name, code, *_ in answer.topic_errors if code not in (0, EXISTS_ALREADY)}
    if refused:
        raise DriftloopError(f"the broker refused to make topics (name: Kafka's error code): {refused}")
    return [name for name, code, *_ in answer.topic_errors if code == 0]


async def list_topics(common: Mapping[str, Any]) -> set[str]:
    """Every topic of the broker. Raises TryAgain while it is away."""
    async with _admin(common) as admin:
        return set(await _in_time(admin.list_topics()))


async def topic_settings(common: Mapping[str, Any], topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """Every setting of these topics, as it holds. Raises TryAgain while the broker is away."""
    async with _admin(common) as admin:
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        answers = await _in_time(admin.describe_configs(asked), SEND_DEADLINE_S)
    return {
        name: {entry[0]: entry[1] for entry in entries} for one in answers for _, _, _, name, entries in one.resources
    }


@asynccontextmanager
async def _admin(common: Mapping[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**common, request_timeout_ms=REQUEST_MS)
    try:
        await _in_time(client.start())
        yield client
    finally:
        await client.close()


async def _sent(client: AIOKafkaProducer, records: Sequence[Outgoing]) -> list[Ack]:
    waiting = [
        await client.send(one.topic, one.value, one.key, one.partition, headers=list(one.headers)) for one in records
    ]
    # All of them are awaited also when one fails, or its neighbours' errors would be nobody's.
    found = await asyncio.gather(*waiting, return_exceptions=True)
    acks: list[Ack] = []
    for one in found:
        if isinstance(one, BaseException):
            raise one
        acks.append((one.partition, one.offset))
    return acks


def _slice(place: TopicPartition, messages: Sequence[Any]) -> Slice:
    topic, partition = place.topic, place.partition
    records = [Record(topic, partition, m.offset, m.timestamp, m.key, m.value, tuple(m.headers)) for m in messages]
    return Slice(topic, partition, records)


def _is_led(described: Mapping[str, Any]) -> bool:
    return described["error_code"] == 0 and all(one["leader"] >= 0 for one in described["partitions"])


def _plain(offsets: Mapping[TopicPartition, int]) -> dict[ports.TopicPartition, int]:
    return {(place.topic, place.partition): offset for place, offset in offsets.items()}


async def _in_time(work: Coroutine[Any, Any, Any], within_s: float = ANSWER_DEADLINE_S) -> Any:
    """The result. Raises TryAgain when it fails or is late."""
    try:
        return await asyncio.wait_for(work, within_s)
    except TimeoutError as error:
        raise TryAgain(f"the broker does not answer within {within_s:g} s") from error
    except (KafkaError, IllegalStateError, OSError) as error:
        raise TryAgain(f"the broker is away or refuses: {_said(error)}") from error


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _ended(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stopped, or left behind when the broker does not let it go."""
    try:
        await asyncio.wait_for(client.stop(), ANSWER_DEADLINE_S)
    except (TimeoutError, KafkaError) as error:
        logging.getLogger(__name__).warning("a Kafka client was left behind: %s", _said(error))


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is not None:
        logging.getLogger(__name__).info("was not ready: %s", task.exception())


class _Seldom(logging.Filter):
    """Lets each message of a place in the code through once in a while: aiokafka repeats itself without limit."""

    EACH_S: Final = 30.0

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, place = time.monotonic(), (record.name, record.lineno)
        if now - self._said_at.get(place, -self.EACH_S) < self.EACH_S:
            return False
        self._said_at[place] = now
        return True


_SELDOM: Final = _Seldom()
_LOUD: Final = (
    "aiokafka", "aiokafka.client", "aiokafka.conn", "aiokafka.consumer.fetcher", "aiokafka.consumer.consumer",
    "aiokafka.consumer.group_coordinator", "aiokafka.producer.sender", "aiokafka.producer.producer", "aiokafka.cluster",
    "aiokafka.coordinator.assignors.range", "aiokafka.admin.client",
)  # fmt: skip


def _quiet_down() -> None:
    # A filter is not inherited by the loggers below it: each that speaks gets it.
    for name in _LOUD:
        logger = logging.getLogger(name)
        if _SELDOM not in logger.filters:
            logger.addFilter(_SELDOM)
