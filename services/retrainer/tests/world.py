"""A model of sites that are late when the wind blows: its declaration, its requests, its rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from driftloop_contracts import Event, caused, first
from driftloop_contracts.control_plane import DeploymentChanged, ModelDeclared, ServedVersion
from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.loop import DatasetBuilt, DatasetFailed, DatasetRequested, Manifest, RetrainRequested

START = datetime(2013, 1, 1, tzinfo=UTC)
DAYS = 60
UNTIL = START + timedelta(days=DAYS)
BOUNDARY = UNTIL - timedelta(days=28)
MODEL = "lateness"
FEATURES = {"wind": "number", "site": "category", "holiday": "boolean"}


def document(model: str = MODEL, entry: str = "samples:linear", **more: Any) -> ModelDeclaration:
    """A declaration; `more` replaces whole keys."""
    given: dict[str, Any] = {
        "model": model,
        "owner": "ops",
        "task": "binary",
        "features": FEATURES,
        "segments": ["site"],
        "train": {"entry": entry, "timeout": "60s", "memory_mb": 1024, "params": {"c": 1.0}},
        "monitor": {"trigger": {"min_outcomes": 10}},
        "gate": {"slices": ["site"]},
    }
    return ModelDeclaration.model_validate(given | more)


def declared(at: datetime = START, **more: Any) -> Event[ModelDeclared]:
    """The declaration holds."""
    made = document(**more)
    fact = ModelDeclared(model=made.model, document=made, digest="sha256:d", applied_by="ops")
    return first(fact, id=f"declared {made.model}", time=at)


def requested(name: str = "request", model: str = MODEL, **more: Any) -> Event[RetrainRequested]:
    """A retrain is asked for."""
    window = {"until": UNTIL, "offsets": [{"topic": "predictions.v1", "partition": 0, "start": 0, "end": 9}]}
    fact = RetrainRequested.model_validate({"model": model, "reason": "asked", "window": window} | more)
    return first(fact, id=f"{name} {model}", time=UNTIL)


def built(asked: Event[DatasetRequested], digest: str = "sha256:" + "0" * 64) -> Event[DatasetBuilt]:
    """The rows are there."""
    manifest = Manifest(
        table_versions={"predictions": 1}, offsets=[], declaration_digest="sha256:d", rows=10, label_coverage=1.0,
        columns={}, until=UNTIL, boundary=BOUNDARY,
    )  # fmt: skip
    request = asked.data
    fact = DatasetBuilt(
        model=request.model, request_id=request.request_id, digest=digest, size_bytes=1, manifest=manifest
    )
    return caused(fact, asked.as_cause())


def unbuildable(asked: Event[DatasetRequested]) -> Event[DatasetFailed]:
    """The rows can't be gathered."""
    fact = DatasetFailed(model=asked.data.model, request_id=asked.data.request_id, reason="0 outcomes by then")
    return caused(fact, asked.as_cause())


def deployed(revision: int, version: str | None, model: str = MODEL) -> Event[DeploymentChanged]:
    """A version serves, or none."""
    served = version and ServedVersion(
        version=version, artifact_digest=f"sha256:{version}", artifact_format="f", features=FEATURES, since=START
    )
    fact = DeploymentChanged(model=model, revision=revision, champion=served or None, reason="first")
    return first(fact, id=f"deployed {revision}", time=UNTIL)


def rows(n: int = 1_500, task: str = "binary", seed: int = 1) -> pa.Table:
    """A dataset as the feature store writes it: in order of the outcomes, which arrive evenly over the 60 days."""
    random = np.random.default_rng(seed)
    arrived = START.timestamp() + np.linspace(60, DAYS * 86_400 - 60, n)
    wind = random.gamma(2.0, 5.0, n)
    site = random.choice(["EWR", "JFK", "LGA"], n)
    holiday = random.random(n) < 0.1
    pull = 0.3 * (wind - 10) + (site == "EWR") + 2.0 * holiday
    return pa.table(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "time": moments(arrived - random.uniform(3_600, 7_200, n)),
            "outcome_time": moments(arrived),
            "target": target(task, pull, random),
            "wind": pa.array(wind, mask=random.random(n) < 0.05),
            "site": pa.array(site.tolist(), mask=random.random(n) < 0.05),
            "holiday": pa.array(holiday, mask=random.random(n) < 0.05),
        }
    )


def target(task: str, pull: Any, random: np.random.Generator) -> pa.Array:
    """What came true, as the task has it."""
    if task == "regression":
        return pa.array(pull + random.normal(size=len(pull)), pa.float64())
    late = random.random(len(pull)) < 1 / (1 + np.exp(-pull))
    if task == "binary":
        return pa.array(late.astype(np.int8))
    return pa.array(np.where(late, np.where(pull > 2, "very late", "late"), "on time").tolist(), pa.string())


def moments(seconds: Any) -> pa.Array:
    """Seconds since the epoch as the history's times."""
    whole = pa.array((seconds * 1_000_000).astype(np.int64))
    return whole.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
