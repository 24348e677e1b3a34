"""Clients that send predictions straight to Kafka, one a partition, and keep account of what they were told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from tests.faults.account import Account, Unanswered
from tests.faults.meanwhile import Meanwhile

from driftloop_bus.codec import encode
from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Producer
from driftloop_contracts import first
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.topics import PREDICTIONS

AGAIN_AFTER_S: Final = 0.05


class Stream(Meanwhile):
    """Sends so many a second while the block runs; each client its next one once the last was acked, and again until it is."""

    def __init__(self, kafka: str, account: Account, per_second: float, clients: int = PREDICTIONS.partitions) -> None:
        self._kafka, self._account = kafka, account
        self._clients, self._each_s = clients, clients / per_second

    def works(self) -> Iterable[Callable[[], None]]:
        """Every client; at the end it was told of its last one."""
        return [partial(asyncio.run, self._send_for_ever(number)) for number in range(self._clients)]

    async def _send_for_ever(self, number: int) -> None:
        log = KafkaLog(self._kafka, f"client-{number}")
        producer = await log.producer()
        seq, due = 0, time.monotonic()
        while not self.over.is_set():
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
