"""Clients that send predictions straight to Kafka, one a partition, and keep account of what they were told."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from tests.faults.account import Account, Unanswered

from driftloop_bus.codec import encode
from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Producer
from driftloop_contracts import first
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.topics import PREDICTIONS

ENDS_WITHIN_S: Final = 120.0
AGAIN_AFTER_S: Final = 0.05


class Stream:
    """Sends so many a second while the block runs; each client its next one once the last was acked, and again until it is."""

    def __init__(self, kafka: str, account: Account, per_second: float, clients: int = PREDICTIONS.partitions) -> None:
        self._kafka, self._account = kafka, account
        self._each_s = clients / per_second
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        self._errors: list[BaseException] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Every client was told of its last one."""
        self._stop.set()
        for thread in self._threads:
            thread.join(ENDS_WITHIN_S)
        assert not any(thread.is_alive() for thread in self._threads), "a client waits for its last ack"
        assert not self._errors, self._errors

    def _run(self, number: int) -> None:
        try:
            asyncio.run(self._send_for_ever(number))
        except BaseException as error:  # noqa: BLE001  # raised where the block ends
            self._errors.append(error)

    async def _send_for_ever(self, number: int) -> None:
        log = KafkaLog(self._kafka, f"client-{number}")
        producer = await log.producer()
        seq, due = 0, time.monotonic()
        while not self._stop.is_set():
            await self._send(producer, number, seq)
            # What an outage held up is not sent all at once afterwards.
            seq, due = seq + 1, max(due + self._each_s, time.monotonic() - self._each_s)
            await asyncio.sleep(due - time.monotonic())
        await log.close()

    async def _send(self, producer: Producer, number: int, seq: int) -> None:
        client = f"c{number}"
        record, acked = _prediction(client, number, seq), False
        while not acked:
            with self._account.attempt(client, client, seq, f"{client}:{seq}"):
                try:
                    await producer.send([record])
                except TryAgain as error:
                    await asyncio.sleep(AGAIN_AFTER_S)
                    raise Unanswered(error.message) from error
                acked = True


def _prediction(client: str, partition: int, seq: int) -> Outgoing:
    what = f"{client}:{seq}"
    made = PredictionMade(prediction_id=what, model=client)
    return replace(encode(first(made, id=what, time=datetime.now(UTC)), "serving"), partition=partition)
