"""A model whose outcomes overtake their predictions: three in ten come first, one in twenty never comes.

The world turns over on its twelfth day, so that an alarm and a retrain request follow. Everything is known beforehand: which
rows meet, when, and which stay alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from driftloop_bus.codec import encode
from driftloop_bus.ports import Outgoing
from driftloop_contracts import AnyEvent, first
from driftloop_contracts.control_plane import (
    DeploymentChanged,
    LossToHold,
    ModelDeclared,
    ServedVersion,
    ViewDeclared,
    WindowLoss,
)
from driftloop_contracts.data_plane import ObservationMade, OutcomeObserved, PredictionMade
from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration

START: Final = datetime(2013, 6, 15, tzinfo=UTC)
DAY: Final = timedelta(days=1)
HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
DAYS: Final = 20
TURN: Final = 12
# Truth comes five hours after the prediction was for; a prediction that is overtaken comes an hour after its truth.
DELAY_US: Final = 5 * HOUR_US
OVERTAKEN_US: Final = 6 * HOUR_US
LATE_US: Final = 30 * HOUR_US
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LateWorld:
    """So many predictions over twenty days, and what came true for them. The same name and size are the same world."""

    predictions: int
    model: str = "late-world"
    late: bool = False
    """Whether one outcome in a hundred is told more than a day after its stream has gone on."""

    @cached_property
    def times_us(self) -> IntArray:
        """What each prediction is for."""
        return _us(START) + np.arange(self.predictions, dtype=np.int64) * (DAYS * DAY_US) // self.predictions

    @property
    def never(self) -> npt.NDArray[np.bool_]:
        """Predictions whose outcome never comes: one in twenty."""
        return np.equal(np.arange(self.predictions) % 20, 0)

    @property
    def overtaken(self) -> npt.NDArray[np.bool_]:
        """Predictions that come after their outcome: three in ten."""
        place = np.arange(self.predictions) % 20
        return (place >= 1) & (place <= 6)

    @property
    def told_late(self) -> npt.NDArray[np.bool_]:
        """Outcomes that come more than a day late: of a hundred predictions one."""
        late: npt.NDArray[np.bool_] = np.arange(self.predictions) % 100 == 50
        late &= self.times_us < self.times_us[-1] - 2 * DAY_US
        return late if self.late else np.zeros_like(late)

    @property
    def sent_us(self) -> IntArray:
        """When each prediction comes, by the clock of its stream."""
        return self.times_us + np.where(self.overtaken, OVERTAKEN_US, 0)

    @property
    def told_us(self) -> IntArray:
        """When each outcome comes."""
        return self.times_us + np.where(self.told_late, DELAY_US + LATE_US, DELAY_US)

    @cached_property
    def predicted_us(self) -> IntArray:
        """When each prediction counts as arrived, in event time: not before what its stream has told already."""
        return _arrived(self.times_us, np.argsort(self.sent_us, kind="stable"))

    @cached_property
    def came_true_us(self) -> IntArray:
        """When each outcome counts as arrived; 0 for those that never come."""
        seen = np.flatnonzero(~self.never)
        arrived = np.zeros(self.predictions, np.int64)
        told = (self.times_us + DELAY_US)[seen]
        arrived[seen] = _arrived(told, np.argsort(self.told_us[seen], kind="stable"))
        return arrived

    @property
    def met_us(self) -> IntArray:
        """When each pair is complete; those that never are do not count here."""
        return np.maximum(self.predicted_us, self.came_true_us)[~self.never]

    @property
    def outcome_first(self) -> int:
        """How many pairs were completed by their prediction."""
        return int((self.predicted_us > self.came_true_us)[~self.never].sum())

    def met_before(self, until_us: int) -> int:
        """How many pairs are complete by then."""
        return int((self.met_us <= until_us).sum())

    @property
    def declared(self) -> list[AnyEvent]:
        """Its declaration, and its first version with a back-test of the world before it turned."""
        document = ModelDeclaration.model_validate({
            "model": self.model, "owner": "ops", "task": "binary", "features": {"x": "number", "site": "category"},
            "outcome": {"expected_within": "36h", "loss": "log_loss"}, "train": {"entry": "late.train:train"},
            "monitor": {"trigger": {"loss": "brier", "window": "1d", "closes": "00:00Z", "min_outcomes": 40}},
            "retrain": {"fresh_outcomes": 250, "cooldown": "1d"},
        })  # fmt: skip
        closes = [START - DAY * (28 - day) for day in range(28)]
        windows = [WindowLoss(close=at, mean=0.055 + 0.002 * np.sin(1.7 * i), n=200) for i, at in enumerate(closes)]
        champion = ServedVersion(
            version="1", artifact_digest="sha256:1", artifact_format="table", features={"x": "number"}, since=START,
            loss_to_hold=LossToHold(loss="brier", n=5600, mean=0.055, windows=windows),
        )  # fmt: skip
        deployed = DeploymentChanged(model=self.model, revision=1, champion=champion, challengers=[], reason="first")
        return [
            first(ModelDeclared(model=self.model, document=document, digest="sha256:d", applied_by="ops"),
                  id=f"declared-{self.model}", time=START - DAY),
            first(deployed, id=f"deployed-{self.model}", time=START),
        ]  # fmt: skip

    def records(self) -> list[Outgoing]:
        """Everything that is told, in the order in which it comes."""
        random = np.random.default_rng(7)
        value = random.random(self.predictions) < 0.3
        turned = self.times_us >= _us(START) + TURN * DAY_US
        # As often wrong as it was right: what it learnt is the opposite of what is true now.
        score = np.clip(np.where(value ^ turned, 0.65, 0.15) + random.normal(0, 0.05, self.predictions), 0.01, 0.99)
        coming = [(at, 0, row) for row, at in enumerate(self.sent_us.tolist())]
        coming += [(at, 1, row) for row, at in enumerate(self.told_us.tolist()) if not self.never[row]]
        return [
            self._outcome(row, bool(value[row])) if kind else self._prediction(row, float(score[row]))
            for _, kind, row in sorted(coming)
        ]

    def _prediction(self, row: int, score: float) -> Outgoing:
        data = PredictionMade(
            prediction_id=f"p{row}", model=self.model, version="1", variant="champion", score=round(score, 4),
            features={"x": row % 7 / 7, "site": "EWR" if row % 2 else "JFK"}, entity=f"e{row}", latency_ms=1.0,
        )  # fmt: skip
        return encode(first(data, id=f"{self.model}-p{row}", time=_moment(int(self.times_us[row]))), "serving")

    def _outcome(self, row: int, value: bool) -> Outgoing:
        seen = _moment(int(self.times_us[row]) + DELAY_US)
        data = OutcomeObserved(model=self.model, prediction_id=f"p{row}", value=value, observed_at=seen)
        return encode(first(data, id=f"{self.model}-o{row}", time=seen), "outside")


def _arrived(times_us: IntArray, order: IntArray) -> IntArray:
    """When each row arrives: at its own time, or with the latest row that came before it."""
    arrived = np.empty_like(times_us)
    arrived[order] = np.maximum.accumulate(times_us[order])
    return arrived


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _moment(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


VIEW: Final = "late-weather"
ENTITIES: Final = 500


def a_view() -> AnyEvent:
    """A view that is told of beside the model."""
    document = ViewDeclaration.model_validate({"view": VIEW, "entity": "site", "features": {"wind": "number"}})
    data = ViewDeclared(view=VIEW, document=document, digest="sha256:v", applied_by="ops")
    return first(data, id=f"declared-{VIEW}", time=START - DAY)


def readings(count: int) -> list[Outgoing]:
    """So many readings of some hundred entities; one in ten comes after a newer one of its entity."""
    made = []
    for i in range(count):
        back = 2 * ENTITIES if i % 10 == 9 and i > 2 * ENTITIES else 0
        data = ObservationMade(
            view=VIEW, entity=f"s{i % ENTITIES}", values={"wind": float(i % 97)}, time=START + DAY * (i - back) / count
        )
        made.append(encode(first(data, id=f"{VIEW}-{i}", time=data.time), "outside"))
    return made
