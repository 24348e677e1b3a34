"""Outside producers: what happened, as events, acked by the log.

Rows are gathered for at most 20 ms and written together; many of one key are packed into one record.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import stamina

from driftloop.addresses import address_of
from driftloop.facts import came_true, observed, predicted
from driftloop_bus.codec import encode
from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.outgoing import repacked, to_records
from driftloop_bus.ports import Ack, Outgoing
from driftloop_bus.ports import Producer as LogProducer
from driftloop_contracts import AnyEvent
from driftloop_contracts.event import Scalar
from driftloop_contracts.topics import OUTSIDE

GATHER_S: Final = 0.02
# Beyond this a caller waits: an unbounded backlog would lose more when the process dies.
MAX_WAITING: Final = 50_000
CLOSE_WITHIN_S: Final = 30.0


class AsyncProducer:
    """Writes events of the open topics; an async context."""

    def __init__(self, name: str, kafka: str | None = None) -> None:
        """name: who produces, for `ce_source`. kafka: bootstrap servers; found by `driftloop.addresses` if not given."""
        self._source = f"/producers/{name}"
        self._log = KafkaLog(kafka or address_of("kafka"), client_id=name)
        self._producer: LogProducer | None = None

    async def __aenter__(self) -> Self:
        self._producer = await self._log.producer(compressed=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._log.close()

    async def send(self, events: Sequence[AnyEvent]) -> list[Ack]:
        """Every event is acked. Raises TryAgain when any may not be: send the same events again, equal ids count once."""
        return await self.send_records(to_records([self.signed(event) for event in events], OUTSIDE))

    async def send_until_acked(self, events: Sequence[AnyEvent]) -> list[Ack]:
        """As `send`, as often as it takes; equal ids count once."""
        return await self.send_records_until_acked(to_records([self.signed(event) for event in events], OUTSIDE))

    async def send_records(self, records: Sequence[Outgoing]) -> list[Ack]:
        """As `send`, for records that are encoded already."""
        if self._producer is None:
            raise RuntimeError("the producer is not open: use `async with`")
        return await self._producer.send(records)

    async def send_records_until_acked(self, records: Sequence[Outgoing]) -> list[Ack]:
        """As `send_until_acked`, for records that are encoded already."""
        async for attempt in stamina.retry_context(on=TryAgain, attempts=None, timeout=None, wait_max=2.0):
            with attempt:
                return await self.send_records(records)
        raise AssertionError("retries never end")

    def signed(self, event: AnyEvent) -> AnyEvent:
        """The event with this producer as its source, unless it has one."""
        return event if event.source else replace(event, source=self._source)


class Producer:
    """The same for code without an event loop: a thread gathers what is logged and sends it, again until it is acked.

    Every method may be called from any thread. What is wrong with an event is raised where it is logged.
    """

    def __init__(self, name: str, kafka: str | None = None) -> None:
        """As AsyncProducer. Nothing is connected yet: Kafka may be away."""
        self._async = AsyncProducer(name, kafka)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"driftloop-{name}", daemon=True)
        self._changed = threading.Condition()
        self._waiting: list[Outgoing] = []
        self._unacked = 0
        self._sending = False
        self._sender: Future[None] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._async.__aenter__(), self._loop).result(CLOSE_WITHIN_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Everything is acked. Raises as `flush`; what was not acked then is lost with this process."""
        try:
            self.flush()
        finally:
            if self._sender is not None:
                self._sender.cancel()
            asyncio.run_coroutine_threadsafe(self._async.__aexit__(None, None, None), self._loop).result(CLOSE_WITHIN_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_WITHIN_S)
            self._loop.close()

    def prediction(self, model: str, features: Mapping[str, Scalar], **more: Any) -> str:
        """Logs a prediction; returns its id, which its outcome will name. Keywords: the fields of PredictionMade, `time`.

        Raises ValueError with what is wrong with it. Waits while 50,000 events are not acked.
        """
        event = predicted(model, features, **more)
        self._put(event)
        return str(event.data.prediction_id)

    def outcome(
        self,
        model: str,
        prediction_id: str,
        value: bool | int | float | str,
        *,
        at: datetime | None = None,
        **more: Any,
    ) -> None:
        """Logs what came true for a prediction, at this time or now. Raises and waits as `prediction`."""
        self._put(came_true(model, prediction_id, value, at=at, **more))

    def observation(
        self, view: str, entity: str, values: Mapping[str, Scalar], *, at: datetime | None = None, **more: Any
    ) -> None:
        """Logs a reading of an entity's features, known since this time or now. Raises and waits as `prediction`."""
        self._put(observed(view, entity, values, at=at, **more))

    def flush(self, timeout_s: float = CLOSE_WITHIN_S) -> None:
        """Everything logged so far is acked. Raises TimeoutError, saying how much is not; it is still being sent then."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._unacked == 0, timeout_s):
                raise TimeoutError(f"{self._unacked} events were not acked within {timeout_s:g} s: is Kafka there?")

    def _put(self, event: AnyEvent) -> None:
        record = encode(self._async.signed(event), OUTSIDE)
        with self._changed:
            self._changed.wait_for(lambda: self._unacked < MAX_WAITING)
            self._waiting.append(record)
            self._unacked += 1
            if not self._sending:
                self._sending = True
                self._sender = asyncio.run_coroutine_threadsafe(self._send(), self._loop)

    async def _send(self) -> None:
        await asyncio.sleep(GATHER_S)
        while records := self._taken():
            await self._async.send_records_until_acked(repacked(records))
            with self._changed:
                self._unacked -= len(records)
                self._changed.notify_all()

    def _taken(self) -> list[Outgoing]:
        with self._changed:
            records, self._waiting = self._waiting, []
            self._sending = bool(records)
            return records
