"""Four models of forty features, so that a prediction is an event of a kilobyte; their records, as producers make them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from tests.first_version import first_version

from driftloop.facts import predicted
from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import encode
from driftloop_bus.ports import Outgoing
from driftloop_bus.testing import publish
from driftloop_contracts import first
from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.topics import OUTSIDE
from driftloop_models import Encoder, Linear, TableModel, save
from driftloop_models.fields import NumberField

MODELS: Final = tuple(f"ingest-{number}" for number in range(4))
FEATURES: Final = tuple(f"feature_{number:02d}" for number in range(40))
KIB: Final = 1024
# Made once: what is measured is taking events in, not drawing numbers.
ROWS: Final = [
    dict(zip(FEATURES, row, strict=True))
    for row in np.random.default_rng(40).uniform(1, 10, (500, len(FEATURES))).round(6).tolist()
]


def record(model: str, number: int) -> Outgoing:
    """The prediction of this number, as one JSON event. Raises AssertionError when it is shorter than a kilobyte."""
    event = predicted(
        model, ROWS[number % len(ROWS)], prediction_id=f"{model}:{number}", version="1", variant="champion",
        score=0.25, entity=f"user-{number % 1000}", latency_ms=1.5,
    )  # fmt: skip
    made = encode(event, OUTSIDE)
    assert len(made.value or b"") >= KIB
    return made


async def declared(kafka: str, folder: Path) -> None:
    """The models are told of, each with a champion that answers."""
    fields = tuple(NumberField(name, "number", fill=0.0, center=0.0, scale=1.0, flagged=False) for name in FEATURES)
    linear = Linear(np.zeros((1, len(FEATURES))), np.zeros(1))
    model = TableModel(Encoder("one_hot", fields), linear, "binary", (False, True))
    digest = str(await ArtifactStore.open((folder / "artifacts").as_uri()).put(save(model)))
    now = datetime.now(UTC)
    for name in MODELS:
        facts = first_version(_declaration(name), digest, dict.fromkeys(FEATURES, "number"), now)
        await publish(kafka, "registry", *(first(fact, id=f"{name}-{n}", time=now) for n, fact in enumerate(facts)))


def _declaration(name: str) -> ModelDeclaration:
    return ModelDeclaration.model_validate(
        {"model": name, "owner": "ops", "task": "binary", "features": dict.fromkeys(FEATURES, "number"),
         "outcome": {"expected_within": "36h", "loss": "log_loss"}, "train": {"entry": "ingest.train:train"},
         "monitor": {"trigger": {"loss": "brier", "window": "1d", "closes": "09:00Z", "min_outcomes": 40}}}
    )  # fmt: skip
