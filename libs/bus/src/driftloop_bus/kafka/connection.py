"""How a consumer comes to its broker and topics, notices that they are gone, and comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from driftloop_bus.backoff import Backoff
from driftloop_bus.errors import Stuck, TryAgain
from driftloop_bus.kafka.administration import partition_counts
from driftloop_bus.kafka.deadlines import REQUEST_MS, ended, started
from driftloop_bus.kafka.places import every_place, plain
from driftloop_bus.kafka.producer import MAX_REQUEST_BYTES
from driftloop_bus.kafka.watchdog import Watchdog, dead_part
from driftloop_bus.ports import Assigned

# The broker answers a fetch as soon as there is a byte. This is how long a partition that was just resumed may have to wait.
FETCH_WAIT_MS: Final = 200
# Who stays learns with its next heartbeat that another has come or gone: by default only after 3 s, and meanwhile nobody
# reads what that one read.
HEARTBEAT_MS: Final = 500
# So often we look whether the client hears what there is; and, after so much silence, whether the broker is still there, to
# be able to say why nothing comes.
LOOK_AFTER_S: Final = 5.0
# A client that is deaf again so soon after it was made anew is not what is broken.
ILL_AGAIN_WITHIN_S: Final = 600.0


class Connection:
    """The client of one consumer. It is made beside the polls, again and again, until broker and topics are there."""

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
            "heartbeat_interval_ms": HEARTBEAT_MS,
            "rebalance_timeout_ms": 30_000,
            "max_poll_interval_ms": 60_000,
            "request_timeout_ms": REQUEST_MS,
            "fetch_max_wait_ms": FETCH_WAIT_MS,
            # Whatever a producer may send can be fetched.
            "max_partition_fetch_bytes": MAX_REQUEST_BYTES,
        }
        self._listener = _Listener(on_assigned, on_revoked)
        self._starting: asyncio.Task[AIOKafkaConsumer] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._retry_at = 0.0
        self._heard_at = self._looked_at = 0.0
        self._watchdog = Watchdog(common, self._topics)
        self._deaf: str | None = None
        self._rebuilt_at: float | None = None
        self.client: AIOKafkaConsumer | None = None
        """Connected; None while there is none."""
        self.reason: str | None = "connecting to the broker"
        """What is waited for; None when all is well."""

    async def ready(self, wait_s: float) -> AIOKafkaConsumer | None:
        """The connected client, or None when it is not there within the time."""
        if self.client is not None:
            return self.client
        if self._starting is None:
            if (left := self._retry_at - time.monotonic()) > 0:
                await asyncio.sleep(min(left, wait_s))
                return None
            self._starting = asyncio.create_task(self._made())
        done, _ = await asyncio.wait({self._starting}, timeout=wait_s)
        if not done:
            return None
        task, self._starting = self._starting, None
        try:
            self.client = task.result()
        except TryAgain as error:
            self._postpone(error.message)
            return None
        self._backoff.reset()
        self._heard_at = time.monotonic()
        self.reason = None
        return self.client

    async def give_up(self, reason: str) -> None:
        """The client is left behind and a new one is made, after a while."""
        client, self.client = self.client, None
        self._deaf = None
        self._watchdog.forget()
        self._postpone(reason)
        if client is not None:
            await self._listener.on_partitions_revoked(client.assignment())
            await ended(client)

    def look(self, heard: bool) -> None:
        """After each poll: somebody asks, beside the polls, whether the client hears what there is; and why, if nothing came."""
        now = time.monotonic()
        if heard:
            self._heard_at, self.reason = now, None
        if now - self._looked_at > LOOK_AFTER_S and (self._looking is None or self._looking.done()):
            self._looked_at = now
            self._looking = asyncio.create_task(self._look_around(now - self._heard_at > LOOK_AFTER_S))

    def sick(self) -> str | None:
        """Why the client will hear nothing any more, although the broker has something; None while it may be well."""
        return self.client and (dead_part(self.client) or self._deaf)

    async def rebuild(self, reason: str) -> None:
        """The client is made anew. Raises Stuck when it was, not long ago, and that did not help."""
        now = time.monotonic()
        if self._rebuilt_at is not None and now - self._rebuilt_at < ILL_AGAIN_WITHIN_S:
            raise Stuck(f"the consumer is deaf again {now - self._rebuilt_at:.0f} s after it was made anew: {reason}")
        logging.getLogger(__name__).error("the consumer is deaf and made anew: %s", reason)
        self._rebuilt_at = now
        await self.give_up(f"the consumer was deaf: {reason}")

    async def close(self) -> None:
        """Nothing is connected, nobody tries to, and the group is left: another member has our partitions at once."""
        if self._looking is not None:
            await _cancelled(self._looking)
        if self._starting is not None:
            await _cancelled(self._starting)
            if not self._starting.cancelled() and self._starting.exception() is None:
                await ended(self._starting.result())
        self._starting = self._looking = None
        if self.client is not None:
            client, self.client = self.client, None
            _leaving(client)
            await ended(client)
        await self._watchdog.close()

    async def _made(self) -> AIOKafkaConsumer:
        """A client that has joined, or that has every partition. Raises TryAgain when broker or topics are not there."""
        counts = await partition_counts(self._common, self._topics)
        client = AIOKafkaConsumer(**self._settings)
        async with started(client):
            if self._group is not None:
                client.subscribe(self._topics, listener=self._listener)
            else:
                places = every_place(counts)
                client.assign(places)
                await self._listener.on_partitions_assigned(places)
        return client

    async def _look_around(self, silent: bool) -> None:
        client = self.client
        try:
            if silent:
                await partition_counts(self._common, self._topics)
            deaf = await self._watchdog.look(client) if client is not None else None
        except TryAgain as error:
            self._watchdog.forget()
            self.reason = error.message if silent else self.reason
            return
        if client is self.client:
            self._deaf = deaf
        if silent:
            self.reason = None

    def _postpone(self, reason: str) -> None:
        self.reason, self._retry_at = reason, time.monotonic() + self._backoff.next_s()


def _leaving(client: AIOKafkaConsumer) -> None:
    """The client says goodbye when it is stopped.

    A member with a name of its own never does, as if it were to be back within the session's 30 s. After a crash it is; after
    a planned stop the next one may run elsewhere, and nobody would read its partitions for that long.
    """
    if client._coordinator is not None and hasattr(client._coordinator, "_group_instance_id"):
        client._coordinator._group_instance_id = None


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    def __init__(self, on_assigned: Assigned, on_revoked: Assigned) -> None:
        self._on_assigned, self._on_revoked = on_assigned, on_revoked

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._on_assigned([plain(place) for place in assigned])

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._on_revoked([plain(place) for place in revoked])


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is not None:
        logging.getLogger(__name__).info("was not ready: %s", task.exception())
