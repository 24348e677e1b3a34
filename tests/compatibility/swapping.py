"""Versions of one model that are large and differ in what they say, and clients who know which said what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

import driftloop_models
from driftloop_artifacts import ArtifactStore
from driftloop_bus.testing import publish
from driftloop_contracts.control_plane import Challenger, DeploymentChanged, ModelDeclared, ServedVersion
from driftloop_models import Encoder, Linear, TableModel, save
from driftloop_models.fields import CategoryField, NumberField
from serving.testing import FEATURES, NOON, a_declaration, an_event

ASKED: Final[dict[str, Any]] = {"wind": 3.0, "origin": "EWR"}
# A table of so many values makes a version 8 MiB large in memory: what is kept of a few that were replaced is seen.
PLACES: Final = 50_000
TOLERANCE: Final = 1e-12


def large_model(weight: float) -> bytes:
    """As `linear_model`, with thousands of places that nobody asks for."""
    places = CategoryField("origin", ("EWR", *(f"airport-{number:06d}" for number in range(PLACES))))
    encoder = Encoder("one_hot", (NumberField("wind", "number", 0.0, 0.0, 1.0, True), places))
    coef = np.full((1, encoder.width), 0.5)
    coef[0, :3] = 0.1, 0.0, weight
    return save(TableModel(encoder, Linear(coef, np.zeros(1)), "binary", (False, True)))


class Versions:
    """All of them are stored before the first is deployed."""

    def __init__(self, kafka: str, artifacts: str, model: str) -> None:
        self._kafka, self._store, self.model = kafka, ArtifactStore.open(artifacts), model
        self._digests: list[str] = []
        self._revision = 0
        self.scores: dict[str, float] = {}
        """What each version says to `ASKED`."""

    async def make(self, count: int) -> None:
        """Versions 1 to count, and the model's declaration."""
        for number in range(1, count + 1):
            data = large_model(number / count)
            self._digests.append(str(await self._store.put(data)))
            model = driftloop_models.load(data, max_bytes=len(data))
            self.scores[str(number)] = float(model.score({name: [value] for name, value in ASKED.items()})[0])
        declared = ModelDeclared(
            model=self.model, document=a_declaration(self.model), digest="sha256:0", applied_by="ops"
        )
        await publish(self._kafka, "registry", an_event(declared))

    async def deploy(self, champion: int, beside: Sequence[int] = ()) -> None:
        """The registry says so."""
        self._revision += 1
        shadows = [Challenger(**self._named(number), mode="shadow", candidate=f"c{number}") for number in beside]
        changed = DeploymentChanged(
            model=self.model,
            revision=self._revision,
            champion=ServedVersion(**self._named(champion)),
            challengers=shadows,
            reason="first",
        )
        await publish(self._kafka, "registry", an_event(changed))

    def _named(self, number: int) -> dict[str, Any]:
        form = {"artifact_format": "driftloop-table-model", "features": FEATURES, "since": NOON}
        return {"version": str(number), "artifact_digest": self._digests[number - 1], **form}


class Heard:
    """What clients were answered: each answer must be what the version that it names says, and no older than the one before."""

    def __init__(self, scores: dict[str, float]) -> None:
        self._scores = scores
        self._last: dict[str, int] = {}
        self.versions: dict[str, str] = {}
        """By the id that was asked for."""
        self.wrong: list[str] = []
        self.back: list[str] = []

    def hear(self, what: str, said: bytes) -> None:
        """One answer. Each client in a thread of its own."""
        answer, client = json.loads(said), what.partition(":")[0]
        version = str(answer["version"])
        self.versions[what] = version
        if abs(answer["score"] - self._scores[version]) > TOLERANCE or answer["prediction_id"] != what:
            self.wrong.append(f"{what}: {answer}")
        if int(version) < self._last.get(client, 0):
            self.back.append(f"{what}: {version} after {self._last[client]}")
        self._last[client] = int(version)
