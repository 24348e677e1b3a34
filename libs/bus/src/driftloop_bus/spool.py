"""Events that must not be lost and must not wait for Kafka: written to a local file before the answer, sent afterwards.

What was appended survives SIGKILL at once, and a power cut after 100 ms. The one way to Kafka is through the file, so a
broker that is away changes nothing for who appends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from driftloop_bus.backoff import Backoff
from driftloop_bus.errors import TryAgain
from driftloop_bus.failpoints import failpoint
from driftloop_bus.observer import Note, Observer, unobserved
from driftloop_bus.outgoing import repacked
from driftloop_bus.ports import Log, Outgoing, Producer
from driftloop_bus.segments import Chunk, Segments, synced

MAX_BYTES: Final = 1 << 30
SYNC_EACH_S: Final = 0.1
FLUSH: Final = 1_000
LINGER_MS: Final = 5
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(
    tuple[str, bytes | None, bytes, tuple[tuple[str, bytes], ...], int | None]
).decode


class Spool:
    """One folder, one process. `append` is for the event loop's thread; `run` sends."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES, observe: Observer = unobserved) -> None:
        """What an earlier process left there goes out first.

        max_bytes: above it the oldest are dropped, and counted.
        """
        self._segments = Segments(folder, max_bytes)
        self._observe = observe
        self._news = asyncio.Event()
        self._unsynced = False
        self._stopping = False
        self._backoff = Backoff()
        self.dropped = 0
        """Events that were lost because the spool was full."""
        self.waiting_for: str | None = None
        """Why what is there does not go out, for people; None when it does."""
        if self._segments.torn_bytes:
            self._observe(
                Note("spool_torn", reason=f"{self._segments.torn_bytes} bytes of a half-written tail cut off")
            )

    def append(self, records: Sequence[Outgoing]) -> None:
        """They survive the death of this process once it returns, and go out in this order.

        Raises OSError when they can't be kept; then none of them is.
        """
        if not records:
            return
        frames = [_encode((one.topic, one.key, one.value, one.headers, one.partition)) for one in records]
        if dropped := self._segments.append(frames):
            self.dropped += dropped
            self._observe(Note("spool_dropped", records=dropped, reason="the spool is full: the oldest are lost"))
        failpoint("spool.after_frame")
        self._unsynced = True
        self._news.set()

    def pending(self) -> int:
        """How many events wait for Kafka's ack."""
        return self._segments.pending

    @property
    def size_bytes(self) -> int:
        """What the spool weighs on disk."""
        return self._segments.size_bytes

    async def run(self, log: Log) -> None:
        """Sends until `stop` or cancellation, whatever the broker does meanwhile."""
        producer = await log.producer(LINGER_MS, compressed=True)
        syncing = asyncio.create_task(self._sync())
        try:
            while True:
                await self._send(producer)
                if self._stopping and (self.waiting_for or not self.pending()):
                    return
                if not self.pending():
                    await self._rest()
        finally:
            syncing.cancel()
            await asyncio.wait({syncing})
            await producer.close()

    def stop(self) -> None:
        """`run` returns once everything is acked, or can't be sent now; what is left goes out in the next life."""
        self._stopping = True
        self._news.set()

    def close(self) -> None:
        """The folder is free. Nothing is appended afterwards."""
        self._segments.close()

    async def _send(self, producer: Producer) -> None:
        self._news.clear()
        if not self.pending():
            return
        started = time.monotonic()
        chunk = self._segments.oldest(FLUSH)
        try:
            await producer.send(repacked([Outgoing(*_decode(one)) for one in chunk.payloads]))
        except TryAgain as error:
            self.waiting_for = error.message
            self._observe(Note("relay_tried_again", reason=error.message, error=error))
            if not self._stopping:
                await asyncio.sleep(self._backoff.next_s())
            return
        self._done(chunk, time.monotonic() - started)

    def _done(self, chunk: Chunk, seconds: float) -> None:
        self._segments.acked(chunk)
        self._backoff.reset()
        self.waiting_for = None
        self._observe(Note("spool_sent", records=len(chunk.payloads), seconds=seconds))

    async def _rest(self) -> None:
        if not self._stopping:
            await self._news.wait()

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_EACH_S)
            if self._unsynced:
                self._unsynced = False
                await asyncio.to_thread(synced, self._segments.to_sync())
