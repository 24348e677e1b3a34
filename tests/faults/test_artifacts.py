"""R4: spoilt artifacts are refused by whoever loads them, bad candidates by the gate; a mistaken promotion is taken back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.retrainer.tests.world import declared
from tests.faults.asking import Asker
from tests.faults.bad_candidates import PLANTED, Figures, blocked, circle, planted, taken_back
from tests.faults.loop_around import Around, around, until
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.spoiling import spoil

import driftloop_models
from driftloop_artifacts import ArtifactStore
from driftloop_bus.testing import publish
from driftloop_contracts.control_plane import DeploymentChanged, ModelDeclared, ServedVersion
from driftloop_contracts.loop import TrainingFailed
from driftloop_contracts.topics import CANDIDATES
from driftloop_kit.testing import running
from driftloop_local.stack import LocalStack
from serving.testing import FEATURES, NOON, a_declaration, an_event, linear_model
from serving.testing.process import ServingProcess

pytestmark = [pytest.mark.faults, pytest.mark.stack]

SEED = 23
# Of the flipped blobs and of the deleted ones: the first for serving, the second for the trainer.
FLIPPED, DELETED = {"fast": ((17, 3), (3, 1)), "whole": ((85, 15), (15, 5))}[size()]
MODEL = "r4"
WINDS = (0.0, 2.5, 7.0)
__all__ = ["circle"]


@pytest.fixture(scope="module")
def figures() -> Figures:
    """What the first test found, for the line that the last one writes."""
    return {}


async def test_no_spoilt_artifact_is_ever_used(
    kafka: str, service_database: Callable[[str], str], tmp_path: Path, figures: Figures
) -> None:
    moments = random.Random(SEED)
    with ServingProcess(kafka, tmp_path) as serving:
        refused = await refused_by_serving(serving, moments, figures)
    database_url = await asyncio.to_thread(service_database, "retrainer")
    with running("retrainer", kafka, tmp_path, database_url):
        refused += await refused_by_the_trainer(kafka, tmp_path, moments)
    spoilt = sum(FLIPPED) + sum(DELETED)
    figures |= {"spoilt": spoilt, "unrefused": spoilt - refused}


async def test_no_bad_candidate_serves_for_long(circle: LocalStack, figures: Figures, report: Report) -> None:
    async with planted(circle, "r4-planted") as walk:
        figures["unblocked"] = len(PLANTED) - await blocked(walk)
        figures |= await taken_back(walk)
        failed_live = len(walk.replayer.counts.failed)
    report(
        "R4", None, seed=SEED, planted=len(PLANTED), failed_live=failed_live, **figures,
        bounds={
            "unrefused": 0, "wrong": 0, "failed_requests": 0, "failed_live": 0, "unblocked": 0, "rolled_back_s": 30.0,
            "swap_s": 2.0,
        },
    )  # fmt: skip


async def refused_by_serving(serving: ServingProcess, moments: random.Random, figures: Figures) -> int:
    """How many spoilt versions serving has refused, saying why, while it answered as before."""
    store, first = ArtifactStore.open(serving.artifacts), linear_model(1.0)
    model = driftloop_models.load(first, max_bytes=len(first))
    scores = model.score({"wind": list(WINDS), "origin": ["EWR"] * len(WINDS)})
    declaration = ModelDeclared(model=MODEL, document=a_declaration(MODEL), digest="sha256:0", applied_by="ops")
    await publish(serving.kafka, "registry", an_event(declaration))
    await deploy(serving, 1, str(await store.put(first)))
    await serving.eventually_serves(MODEL, "1")
    asker = Asker(f"{serving.url}/predict/{MODEL}", "1", dict(zip(WINDS, scores.tolist(), strict=True)))
    asking, refused = asyncio.create_task(asker.run()), 0
    for number, delete in enumerate([False] * FLIPPED[0] + [True] * DELETED[0]):
        version = str(number + 2)
        digest = str(await store.put(linear_model(2.0 + number)))
        spoil(serving.folder / "artifacts", digest, moments, delete=delete)
        await deploy(serving, int(version), digest)
        refused += await says_why(serving, version)
    asker.stop.set()
    await asking
    figures |= {"asked": asker.asked, "wrong": len(asker.wrong), "failed_requests": len(asker.failed)}
    return refused


async def deploy(serving: ServingProcess, version: int, digest: str) -> None:
    """The registry says that this version answers."""
    served = ServedVersion(
        version=str(version), artifact_digest=digest, artifact_format="driftloop-table-model", features=FEATURES, since=NOON
    )  # fmt: skip
    changed = DeploymentChanged(model=MODEL, revision=version, champion=served, reason="first")
    await publish(serving.kafka, "registry", an_event(changed))


async def says_why(serving: ServingProcess, version: str) -> bool:
    """Serving keeps the first version, is ready, and names the digest that it refuses."""

    def refuses(said: dict[str, Any]) -> bool:
        return str(said["models"][MODEL]["error"]).startswith(f"{version}: ")

    said = await serving.eventually("/ready", refuses)
    shown = said["models"][MODEL]
    return said["ready"] is True and shown["champion"] == "1" and "sha256:" in shown["error"]


async def refused_by_the_trainer(kafka: str, folder: Path, moments: random.Random) -> int:
    """How many trainings on spoilt rows were refused, saying so."""
    async with around(kafka, (folder / "artifacts").as_uri(), MODEL) as model:
        train = {"entry": "nobody:gets_so_far", "timeout": "60s", "memory_mb": 1024}
        await publish(kafka, "registry", declared(model=MODEL, train=train))
        for number, delete in enumerate([False] * FLIPPED[1] + [True] * DELETED[1]):
            wish = await model.wish(await model.ask(f"spoilt-{number}"))
            digest = await model.put(seed=number)
            spoil(folder / "artifacts", digest, moments, delete=delete)
            await model.answer(wish, digest)
        await until(lambda: refusals_are(model, FLIPPED[1] + DELETED[1]), what="not every training was refused")
        return len([fact for fact in await failures(model) if fact.kind == "dataset" and "sha256:" in fact.reason])


async def refusals_are(model: Around, wanted: int) -> bool:
    return len(await failures(model)) >= wanted


async def failures(model: Around) -> list[TrainingFailed]:
    """What the trainer has said of trainings that came to nothing."""
    return [event.data for event in await model.of(CANDIDATES.name, TrainingFailed)]
