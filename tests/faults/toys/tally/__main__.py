"""It notes each prediction once, with who noted it and under which claim, and says so on another topic."""

from __future__ import annotations

import os

from pydantic_settings import SettingsConfigDict

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Transaction
from driftloop_bus.runner import on_batch
from driftloop_contracts.topics import PREDICTIONS, RUNS
from driftloop_kit.entry import main
from driftloop_kit.run import run_service
from driftloop_kit.service import Service
from driftloop_kit.settings import ServiceSettings

NOTE = """
INSERT INTO effect (part, at, epoch, id, member)
SELECT $1, row.at, own.epoch, row.id, $5
FROM unnest($3::bigint[], $4::text[]) WITH ORDINALITY AS row(at, id, place), consumer_offset AS own
WHERE own.grp = 'tally' AND own.topic = $2 AND own.part = $1 ORDER BY row.place
"""


class Settings(ServiceSettings):
    """The kit's, and its name in its group."""

    model_config = SettingsConfigDict(env_prefix="TALLY_")

    member: str
    """Whoever has the same name takes over."""


class Tally:
    """Handlers."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def on_predictions(self, batch: PredictionBatch) -> list[Outgoing]:
        who = str(os.getpid())
        await self._tx.connection.execute(
            NOTE, batch.partition, batch.topic, batch.offsets.tolist(), batch.prediction_ids, who
        )
        return [Outgoing(RUNS.name, b"tally", what.encode()) for what in batch.prediction_ids]


async def run(settings: Settings) -> None:
    routes = [on_batch(PREDICTIONS, Tally.on_predictions)]
    log = KafkaLog(settings.kafka, "tally", instance=settings.member)
    await run_service(Service("tally", settings, handlers=Tally, routes=routes), log)


if __name__ == "__main__":
    main("tally", run, Settings)
