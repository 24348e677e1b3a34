"""Clients that send predictions in batches at a steady rate, one a partition, and know since when each record is in the log."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Self

from tests.faults.account import Account, Line, Unanswered, told
from tests.faults.meanwhile import Meanwhile
from tests.first_version import first_version

from driftloop_bus.codec import encode
from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Producer
from driftloop_contracts import AnyEvent, first
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.topics import PREDICTIONS

CLIENTS: Final = PREDICTIONS.partitions
BATCH: Final = 50
AGAIN_AFTER_S: Final = 0.05


class Flow(Meanwhile):
    """Each client sends its next batch once the last was acked. A model for each client: `c0`, `c1`, ..."""

    def __init__(self, kafka: str, account: Account) -> None:
        self._kafka, self._account = kafka, account
        self._next = [0] * CLIENTS
        self._appended: list[tuple[list[int], list[float]]] = [([], []) for _ in range(CLIENTS)]
        self._each_s = 0.0

    async def burst(self, batches: int) -> None:
        """So many batches of each client are in the log, as fast as it takes them."""
        log = KafkaLog(self._kafka, "burst")
        producer = await log.producer()
        for number in range(CLIENTS):
            for _ in range(batches):
                await self._send(producer, number)
        await log.close()

    def steadily(self, per_second: float) -> Self:
        """As a context manager from now on: so many predictions a second while the block runs."""
        self._each_s = CLIENTS * BATCH / per_second
        return self

    def works(self) -> Iterable[Callable[[], None]]:
        """Every client; at the end it was told of its last batch."""
        return [partial(asyncio.run, self._send_for_ever(number)) for number in range(CLIENTS)]

    @property
    def sent(self) -> int:
        """Predictions that were acked."""
        return sum(len(offsets) for offsets, _ in self._appended) * BATCH

    def appended_at(self, partition: int, offset: int) -> float:
        """When the record there was acked, by `time.time`: at most a batch's round trip after it was appended."""
        offsets, times = self._appended[partition]
        return times[bisect_right(offsets, offset) - 1]

    async def _send_for_ever(self, number: int) -> None:
        log = KafkaLog(self._kafka, f"client-{number}")
        producer, due = await log.producer(), time.monotonic()
        while not self.over.is_set():
            await self._send(producer, number)
            due = max(due + self._each_s, time.monotonic() - self._each_s)
            await asyncio.sleep(due - time.monotonic())
        await log.close()

    async def _send(self, producer: Producer, number: int) -> None:
        seq, acked = self._next[number], False
        self._next[number] += 1
        batch = predictions(number, seq)
        while not acked:
            with self._account.attempt(f"c{number}", f"c{number}", seq, f"c{number}:{seq}"):
                try:
                    acks = await producer.send(batch)
                except TryAgain as error:
                    await asyncio.sleep(AGAIN_AFTER_S)
                    raise Unanswered(error.message) from error
                offsets, times = self._appended[number]
                offsets.append(acks[0][1])
                times.append(time.time())
                acked = True


def predictions(number: int, seq: int) -> list[Outgoing]:
    """One batch of a client; its rows' ids are `client:seq:row`."""
    return [
        replace(encode(_event(f"c{number}", f"c{number}:{seq}:{row}"), "serving"), partition=number)
        for row in range(BATCH)
    ]


def lines_of(path: Path) -> list[Line]:
    """What was told of each single prediction."""
    return [
        replace(line, id=f"{line.id}:{row}", seq=line.seq * BATCH + row) for line in told(path) for row in range(BATCH)
    ]


def declared() -> Sequence[AnyEvent]:
    """The clients' models, as the registry tells of them: each with a version that answers."""
    now = datetime.now(UTC)
    return [event for number in range(CLIENTS) for event in model(f"c{number}", now)]


def _event(model: str, what: str) -> AnyEvent:
    made = PredictionMade(
        prediction_id=what, model=model, version="1", score=0.25, features={"x": 1.0}, latency_ms=1.5, entity=what
    )
    return first(made, id=what, time=datetime.now(UTC))


def model(name: str, now: datetime) -> list[AnyEvent]:
    """Declared, with a version that answers."""
    document = ModelDeclaration.model_validate({
        "model": name, "owner": "ops", "task": "binary", "features": {"x": "number"}, "train": {"entry": "flow:train"}
    })  # fmt: skip
    declared, deployed = first_version(document, "sha256:1", {"x": "number"}, now, artifact_format="table")
    return [first(declared, id=f"d-{name}", time=now), first(deployed, id=f"v-{name}", time=now)]
