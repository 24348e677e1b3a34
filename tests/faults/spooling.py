"""Serving as a process, one who asks it for predictions, and what came of them on the topic."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import httpx
from tests.faults.account import Account, Refused, Unanswered
from tests.faults.mortal import Mortal
from tests.faults.reading import on_log
from tests.faults.verdict import Effect
from tests.first_version import first_version

from driftloop_artifacts import ArtifactStore
from driftloop_bus.batches import PredictionBatch
from driftloop_bus.ports import Record
from driftloop_bus.reading import read_batch
from driftloop_bus.testing import publish
from driftloop_contracts.topics import PREDICTIONS
from serving.testing import FEATURES, NOON, a_declaration, an_event, linear_model

MODEL: Final = "mortal"


@dataclass
class Asked:
    """One serving with one model; `ask` is one request."""

    kafka: str
    account: Account
    serving: Mortal
    asked: int = 0

    def serve(self) -> None:
        """The model is declared and deployed; nothing runs yet."""
        asyncio.run(_deploy(self.kafka, self.serving.artifacts))

    def until_it_serves(self) -> None:
        """The process that was started answers for the model."""
        self.serving.until_page(
            "/ready", lambda said: said["ready"] and said.get("models", {}).get(MODEL, {}).get("champion")
        )

    def ask(self) -> None:
        """One prediction more, and the account knows what was said."""
        number, self.asked = self.asked, self.asked + 1
        with self.account.attempt("asker", MODEL, number, f"{MODEL}/{number}"):
            body = {"features": {"wind": 3.0, "origin": "EWR"}, "prediction_id": f"{MODEL}/{number}"}
            try:
                answer = self.serving.post(f"/predict/{MODEL}", body)
            except httpx.TransportError as error:
                raise Unanswered(str(error)) from error
            if answer.status_code != httpx.codes.OK:
                raise Refused(answer.text)

    def predictions(self) -> list[tuple[Effect, float]]:
        """What stands on the topic, record by record, each with the moment at which the broker took it (`time.time`)."""
        records = asyncio.run(on_log(self.kafka, PREDICTIONS.name))
        pieces = [list(some) for _, some in groupby(records, key=lambda one: (one.partition, one.timestamp_ms))]
        return [(effect, piece[0].timestamp_ms / 1000) for piece in pieces for effect in _effects(piece)]


def _effects(records: list[Record]) -> list[Effect]:
    batch, bad = read_batch(records)
    assert isinstance(batch, PredictionBatch)
    assert not bad
    ids = [str(one) for one in batch.prediction_ids]
    return [Effect(MODEL, one, int(one.rpartition("/")[2])) for one in ids]


async def _deploy(kafka: str, artifacts: str) -> None:
    digest = str(await ArtifactStore.open(artifacts).put(linear_model(1.0)))
    await publish(kafka, "registry", *map(an_event, first_version(a_declaration(MODEL), digest, FEATURES, NOON)))


def a_serving(kafka: str, account: Account, folder: Path) -> Asked:
    """At a place of its own; nothing runs."""
    return Asked(kafka, account, Mortal("serving", kafka, folder))
