"""The linear model of 26 features, served."""

from __future__ import annotations

import numpy as np
from tests.first_version import first_version
from tests.load.by_hand import COEFFICIENTS, FEATURES, MODEL

from driftloop_artifacts import ArtifactStore
from driftloop_bus.testing import publish
from driftloop_contracts.documents import ModelDeclaration
from driftloop_models import Encoder, Linear, TableModel, save
from driftloop_models.fields import NumberField
from serving.testing import NOON, an_event
from serving.testing.process import ServingProcess


async def deployed(serving: ServingProcess) -> None:
    """The linear model answers."""
    fields = tuple(NumberField(name, "number", fill=0.0, center=0.0, scale=1.0, flagged=False) for name in FEATURES)
    model = TableModel(Encoder("one_hot", fields), Linear(COEFFICIENTS, np.zeros(1)), "binary", (False, True))
    digest = str(await ArtifactStore.open(serving.artifacts).put(save(model)))
    features = dict.fromkeys(FEATURES, "number")
    document = ModelDeclaration.model_validate(
        {"model": MODEL, "owner": "ops", "task": "binary", "features": features, "train": {"entry": "load.train:train"}}
    )
    await publish(serving.kafka, "registry", *map(an_event, first_version(document, digest, features, NOON)))
    await serving.eventually_serves(MODEL, "1")
