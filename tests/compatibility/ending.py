"""Processes that are asked to end, who asks meanwhile, and what came of what was asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from tests.compatibility.replicas import Balancer, each
from tests.compatibility.swapping import ASKED
from tests.faults.tallying import Row
from tests.faults.verdict import Effect

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.reading import read_batch
from driftloop_bus.testing import everything
from driftloop_contracts.topics import PREDICTIONS
from driftloop_kit.testing import ServiceProcess

# The promise is 12 s; who takes longer is waited for, to know how long.
GONE_WITHIN_S: Final = 30.0


def ended(service: ServiceProcess) -> tuple[float, int]:
    """How long it took from SIGTERM to its end, and its code."""
    began = time.monotonic()
    code = service.stop(GONE_WITHIN_S)
    return time.monotonic() - began, code


async def until_served(serving: ServiceProcess, model: str, version: int) -> None:
    """The process answers, and this version is the model's champion."""

    def serves(said: dict[str, Any]) -> bool:
        return said["ready"] and said["models"].get(model, {}).get("champion") == str(version)

    await serving.eventually("/ready", serves)


async def ask(balancer: Balancer, model: str, per_second: float, over: asyncio.Event) -> float:
    """Until it is over; how many a second it came to."""
    began, number = time.monotonic(), 0
    async with asyncio.TaskGroup() as group:
        async for number in each(per_second, 1.0, over):
            group.create_task(balancer.predict(model, number, {"features": ASKED, "prediction_id": f"d:{number}"}))
    return number / (time.monotonic() - began)


async def predictions(kafka: str, model: str) -> list[tuple[Effect, str | None]]:
    """What stands on the topic of the answers of this model, each with its version."""
    log = KafkaLog(kafka, "faults")
    try:
        records = await everything(log, PREDICTIONS.name)
    finally:
        await log.close()
    made = []
    for number in sorted({record.partition for record in records}):
        batch, bad = read_batch([record for record in records if record.partition == number])
        assert not bad
        if isinstance(batch, PredictionBatch):
            made += [
                (Effect(f"{model}/{what.partition(':')[0]}", what, int(what.partition(":")[2])), version)
                for of, what, version, variant in zip(
                    batch.models, batch.prediction_ids, batch.versions, batch.variants, strict=True
                )
                if of == model and variant != "shadow"
            ]
    return made


def gap_s(rows: Sequence[Row], since: float, until: float) -> float:
    """The longest time, begun in these, in which nothing was noted of a partition that was sent something all the time."""
    moments: dict[int, list[float]] = {}
    for row in rows:
        moments.setdefault(row.part, []).append(row.t)
    return max(
        later - earlier for one in moments.values() for earlier, later in pairwise(one) if since <= earlier <= until
    )
