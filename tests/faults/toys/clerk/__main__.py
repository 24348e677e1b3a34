"""Each outcome leaves a row. With its bug it stumbles over every outcome that it should count as odd."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from driftloop_bus.batches import OutcomeBatch
from driftloop_bus.ports import Transaction
from driftloop_bus.runner import on_batch
from driftloop_contracts.topics import OUTCOMES
from driftloop_kit.entry import main
from driftloop_kit.service import Service
from driftloop_kit.settings import ServiceSettings

_NOTE = """
INSERT INTO effect (id, key, seq) SELECT id, key, seq
FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS heard (id, key, seq, place) ORDER BY place
"""


class Settings(ServiceSettings):
    """The kit's, and whether it is mended."""

    model_config = SettingsConfigDict(env_prefix="CLERK_")

    bug: bool = False
    """Odd numbers are no use to it."""


class Clerk:
    """Handlers."""

    def __init__(self, tx: Transaction, bug: bool = False) -> None:
        self._tx, self._bug = tx, bug

    async def on_outcomes(self, batch: OutcomeBatch) -> None:
        seqs = [int(value) for value in batch.values.tolist()]
        if self._bug and any(seq % 2 for seq in seqs):
            raise ZeroDivisionError("one over none")
        await self._tx.connection.execute(_NOTE, batch.prediction_ids, batch.streams, seqs)


def build(settings: Settings) -> Service[Clerk]:
    return Service(
        "clerk",
        settings,
        handlers=lambda tx: Clerk(tx, settings.bug),
        routes=[on_batch(OUTCOMES, Clerk.on_outcomes)],
    )


if __name__ == "__main__":
    main("clerk", build, Settings)
