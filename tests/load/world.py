"""A model in a world that does not move: its declaration, its deployment, its predictions and outcomes, JSON or packed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import encode, headers_of
from driftloop_bus.envelope import ARROW
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.outgoing import PACKED_ROWS
from driftloop_bus.packing import pack_columns
from driftloop_bus.ports import Outgoing
from driftloop_contracts import AnyEvent, first
from driftloop_contracts.control_plane import DeploymentChanged, LossToHold, ModelDeclared, ServedVersion, WindowLoss
from driftloop_contracts.data_plane import OutcomeObserved, PredictionMade
from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS
from driftloop_detect.structural import Reference

START: Final = datetime(2013, 6, 15, tzinfo=UTC)
DAY: Final = timedelta(days=1)
DELAY: Final = timedelta(hours=5)
A_DAY: Final = 5_000
FEATURES: Final = tuple(f"feature_{i:02d}" for i in range(20))
# Together a send of this many stays far from the producer's deadline, also on a busy machine.
SENT_AT_ONCE: Final = 4_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of one partition: from `start`, before `end`."""

    topic: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Predictions and what came true for them."""

    ids: list[str]
    times: list[datetime]
    features: np.ndarray
    scores: np.ndarray
    outcomes: np.ndarray

    @property
    def brier(self) -> float:
        return float(np.mean((self.scores - self.outcomes) ** 2))


@dataclass
class Model:
    """One model; each call of `next` goes on in event time where the last ended."""

    form: str
    partition: int
    name: str = field(init=False)
    made: int = 0

    def __post_init__(self) -> None:
        self.name = f"load-{self.form}-{uuid.uuid4().hex[:8]}"

    def next(self, count: int) -> list[Outgoing]:
        """The records of so many further predictions and as many outcomes."""
        rows = some_rows(self.name, self.made, count)
        self.made += count
        made = _packed(self.name, rows) if self.form == "packed" else _json(self.name, rows)
        return [replace(record, partition=self.partition) for record in made]

    def declared(self) -> AnyEvent:
        document = ModelDeclaration.model_validate({
            "model": self.name,
            "owner": "ops",
            "task": "binary",
            "features": dict.fromkeys(FEATURES, "number"),
            "outcome": {"expected_within": "36h", "loss": "log_loss"},
            "train": {"entry": "load.train:train"},
            "monitor": {"trigger": {"loss": "brier", "window": "1d", "closes": "09:00Z", "min_outcomes": 40}},
        })  # fmt: skip
        data = ModelDeclared(model=self.name, document=document, digest="sha256:0", applied_by="ops")
        return first(data, id=f"declared-{self.name}", time=START - DAY)

    def deployed(self, reference_digest: str) -> AnyEvent:
        """A champion with a back-test of 28 days of the same world."""
        windows = [
            WindowLoss(close=START - DAY * (28 - day), mean=some_rows("back-test", day * A_DAY, A_DAY).brier, n=A_DAY)
            for day in range(28)
        ]
        mean = float(np.mean([window.mean for window in windows]))
        champion = ServedVersion(
            version="1", artifact_digest="sha256:1", artifact_format="table", features=dict.fromkeys(FEATURES, "number"),
            since=START - DAY, loss_to_hold=LossToHold(loss="brier", n=28 * A_DAY, mean=mean, windows=windows),
            reference_digest=reference_digest,
        )  # fmt: skip
        data = DeploymentChanged(model=self.name, revision=1, champion=champion, challengers=[], reason="first")
        return first(data, id=f"deployed-{self.name}", time=START - DAY)


def some_rows(name: str, at: int, count: int) -> Rows:
    """Calibrated scores and independent features: the same for the same name and place."""
    random = np.random.default_rng([at, *name.encode()])
    scores = random.uniform(0.05, 0.6, count).round(6)
    return Rows(
        ids=[f"{name}-{i:012d}" for i in range(at, at + count)],
        times=[START + DAY * i / A_DAY for i in range(at, at + count)],
        features=random.normal(size=(count, len(FEATURES))).round(6),
        scores=scores,
        outcomes=random.random(count) < scores,
    )


async def reference(store: ArtifactStore) -> str:
    """The digest of what the features were like in training."""
    rows = some_rows("training", 0, 6_000)
    made = Reference.of(dict(zip(FEATURES, rows.features.T, strict=True)))
    return str(await store.put(json.dumps(made.to_json()).encode()))


async def fill(log: KafkaLog, records: Sequence[Outgoing]) -> list[Stretch]:
    """The records are in their partitions; where."""
    places = sorted({(record.topic, record.partition or 0) for record in records})
    before = await log.end_offsets(sorted({topic for topic, _ in places}))
    producer = await log.producer(compressed=True)
    for start in range(0, len(records), SENT_AT_ONCE):
        await producer.send(records[start : start + SENT_AT_ONCE])
    after = await log.end_offsets(sorted({topic for topic, _ in places}))
    return [Stretch(*place, before[place], after[place]) for place in places]


def _json(model: str, rows: Rows) -> list[Outgoing]:
    made: list[Outgoing] = []
    for i, identity in enumerate(rows.ids):
        prediction = _prediction(model, rows, i)
        outcome = OutcomeObserved(
            model=model, prediction_id=identity, value=bool(rows.outcomes[i]), observed_at=rows.times[i] + DELAY
        )
        made.append(encode(first(prediction, id=f"p-{identity}", time=rows.times[i]), "serving"))
        made.append(encode(first(outcome, id=f"o-{identity}", time=outcome.observed_at), "outside"))
    return made


def _packed(model: str, rows: Rows) -> list[Outgoing]:
    made: list[Outgoing] = []
    for start in range(0, len(rows.ids), PACKED_ROWS):
        part = slice(start, start + PACKED_ROWS)
        ids, times = rows.ids[part], rows.times[part]
        predictions: dict[str, Any] = {
            "time": times, "prediction_id": ids, "version": ["1"] * len(ids), "score": rows.scores[part],
            "entity": [f"user-{i % 1000}" for i in range(len(ids))], "latency_ms": np.full(len(ids), 1.5),
            **{f"features.{name}": column for name, column in zip(FEATURES, rows.features[part].T, strict=True)},
        }  # fmt: skip
        observed = [time + DELAY for time in times]
        outcomes = {"time": observed, "prediction_id": ids, "value": rows.outcomes[part].tolist()}
        head = first(_prediction(model, rows, start), id=f"pp-{ids[0]}", time=times[0])
        tail = first(
            OutcomeObserved(model=model, prediction_id=ids[0], value=True, observed_at=observed[0]),
            id=f"oo-{ids[0]}", time=observed[0],
        )  # fmt: skip
        key = model.encode()
        made.append(Outgoing(PREDICTIONS.name, key, pack_columns(predictions), headers_of(head, "serving", ARROW)))
        made.append(Outgoing(OUTCOMES.name, key, pack_columns(outcomes), headers_of(tail, "outside", ARROW)))
    return made


def _prediction(model: str, rows: Rows, i: int) -> PredictionMade:
    return PredictionMade(
        prediction_id=rows.ids[i], model=model, version="1", score=float(rows.scores[i]), entity=f"user-{i % 1000}",
        latency_ms=1.5, features=dict(zip(FEATURES, rows.features[i].tolist(), strict=True)),
    )  # fmt: skip
