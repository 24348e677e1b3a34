"""What was committed goes out: outbox to Kafka, in order, at least once, by one instance at a time.

Woken by commits, so nothing polls; a look each second finds what other instances committed. A topic that can't be written
holds up nobody but itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from driftloop_bus.backoff import Backoff
from driftloop_bus.errors import TryAgain
from driftloop_bus.failpoints import failpoint
from driftloop_bus.observer import Kind, Note, Observer, unobserved
from driftloop_bus.ports import Ack, Log, Outbox, OutboxLease, OutboxRow, Producer

BATCH: Final = 500
LOOK_EACH_S: Final = 1.0
# A row costs the log's end once a minute, and finds what a broker lost with its disk's cache.
CHECK_EACH_S: Final = 60.0


class Relay:
    """`run` returns after `stop`, and never gives up before."""

    def __init__(
        self,
        log: Log,
        outbox: Outbox,
        *,
        topics: Sequence[str] = (),
        observe: Observer = unobserved,
        look_each_s: float = LOOK_EACH_S,
        check_each_s: float = CHECK_EACH_S,
    ) -> None:
        """topics: those that the service writes; what the broker lost of them is found and sent again."""
        self._log, self._outbox, self._topics, self._observe = log, outbox, topics, observe
        self._look_each_s, self._check_each_s = look_each_s, check_each_s
        self._check_at = 0.0
        self._committed = asyncio.Event()
        self._stopping = False
        self._backoff = Backoff()
        self._stuck: dict[str, _Stuck] = {}
        self.waiting_for: str | None = None
        """Why rows wait that could go out, for people; None when all is well."""

    def wake(self) -> None:
        """Something was committed: look at once."""
        self._committed.set()

    def stop(self) -> None:
        """`run` returns once nothing is left to send, or nothing can be sent."""
        self._stopping = True
        self._committed.set()

    async def run(self) -> None:
        """Relays until `stop`."""
        producer = await self._log.producer(linger_ms=0)
        while True:
            try:
                await self._lease(producer)
            except Exception as error:  # noqa: BLE001  # TryAgain, or a bug: it is told, and nothing that waits is given up
                self._tell(error)
                await self._sleep(self._backoff.next_s())
            if self._stopping:
                break
        await producer.close()

    async def _lease(self, producer: Producer) -> None:
        async with self._outbox.lease() as lease:
            if lease is None:
                self.waiting_for = None
                await self._sleep(self._look_each_s)
                return
            # Connected before the first event, so that it does not wait for that.
            await producer.send([])
            self._backoff.reset()
            while await self._round(lease, producer):
                pass

    async def _round(self, lease: OutboxLease, producer: Producer) -> bool:
        """One look into the outbox. False when the relay stops."""
        self._committed.clear()
        await self._check(lease)
        now = time.monotonic()
        stuck = [topic for topic, one in self._stuck.items() if one.until > now]
        rows = await lease.unpublished(BATCH, stuck)
        if rows:
            await self._send(lease, producer, rows)
            return True
        self.waiting_for = next((self._stuck[topic].reason for topic in stuck), None)
        if self._stopping:
            return False
        await self._sleep(
            min([self._look_each_s, *(one.until - now for one in self._stuck.values() if one.until > now)])
        )
        return True

    async def _send(self, lease: OutboxLease, producer: Producer, rows: Sequence[OutboxRow]) -> None:
        by_topic: dict[str, list[OutboxRow]] = {}
        for row in rows:
            by_topic.setdefault(row.record.topic, []).append(row)
        sent = await asyncio.gather(*(self._send_topic(producer, topic, some) for topic, some in by_topic.items()))
        acked = [pair for pairs in sent for pair in pairs]
        if acked:
            await lease.published([row.id for row, _ in acked], [ack for _, ack in acked])
            failpoint("relay.after_mark")

    async def _send_topic(
        self, producer: Producer, topic: str, rows: Sequence[OutboxRow]
    ) -> list[tuple[OutboxRow, Ack]]:
        """The rows with their acks, or nothing when the topic can't be written now."""
        started = time.monotonic()
        failpoint("relay.before_send")
        try:
            acks = await producer.send([row.record for row in rows])
            failpoint("relay.after_ack")
        except Exception as error:  # noqa: BLE001  # TryAgain, or a bug: the topic waits, the others go on
            self._stuck.setdefault(topic, _Stuck()).again(f"{topic}: {error}")
            self._tell(error, topic)
            return []
        self._stuck.pop(topic, None)
        self._observe(Note("relayed", topic, records=len(rows), seconds=time.monotonic() - started))
        return list(zip(rows, acks, strict=True))

    async def _check(self, lease: OutboxLease) -> None:
        """What was acked and lies beyond the end of the log goes out again."""
        if not self._topics or time.monotonic() < self._check_at:
            return
        self._check_at = time.monotonic() + self._check_each_s
        try:
            ends = await self._log.end_offsets(self._topics)
        except TryAgain as error:
            self._tell(error)
            self._check_at = time.monotonic() + self._backoff.most_s
            return
        if lost := await lease.recall(ends):
            self._observe(Note("recalled", records=lost, reason="acked by the broker, and beyond the end of its log"))

    async def _sleep(self, seconds: float) -> None:
        if self._stopping:
            return
        try:
            await asyncio.wait_for(self._committed.wait(), max(0.0, seconds))
        except TimeoutError:
            return

    def _tell(self, error: Exception, topic: str = "") -> None:
        self.waiting_for = str(error)
        kind: Kind = "relay_tried_again" if isinstance(error, TryAgain) else "bug"
        self._observe(Note(kind, topic, reason=str(error), error=error))


class _Stuck:
    """A topic that can't be written for a while."""

    def __init__(self) -> None:
        self.until, self.reason, self._backoff = 0.0, "", Backoff()

    def again(self, reason: str) -> None:
        """It failed once more."""
        self.until, self.reason = time.monotonic() + self._backoff.next_s(), reason
