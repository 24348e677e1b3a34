"""Each observation leaves a row and, by the outbox, a record: the smallest service that has everything to lose."""

from __future__ import annotations

import json

from pydantic_settings import SettingsConfigDict

from driftloop_bus.batches import ObservationBatch
from driftloop_bus.ports import Outgoing, Transaction
from driftloop_bus.runner import on_batch
from driftloop_contracts.topics import OBSERVATIONS, RUNS
from driftloop_kit.entry import main
from driftloop_kit.service import Service
from driftloop_kit.settings import ServiceSettings

_NOTE = """
INSERT INTO effect (id, key, seq) SELECT id, key, seq
FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS heard (id, key, seq, place) ORDER BY place
"""


class Settings(ServiceSettings):
    """The kit's alone."""

    model_config = SettingsConfigDict(env_prefix="NOTER_")


class Noter:
    """Handlers."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def on_observations(self, batch: ObservationBatch) -> list[Outgoing]:
        ids, seqs = batch.event_ids, [int(str(values["seq"])) for values in batch.values]
        keys = [f"{view}/{entity}" for view, entity in zip(batch.views, batch.entities, strict=True)]
        await self._tx.connection.execute(_NOTE, ids, keys, seqs)
        return [
            Outgoing(RUNS.name, key.encode(), json.dumps({"key": key, "id": one, "seq": seq}).encode())
            for one, key, seq in zip(ids, keys, seqs, strict=True)
        ]


def build(settings: Settings) -> Service[Noter]:
    return Service("noter", settings, handlers=Noter, routes=[on_batch(OBSERVATIONS, Noter.on_observations)])


if __name__ == "__main__":
    main("noter", build, Settings)
