"""A small world with a model of its own for every journey: 200 things a day, and a day on which the world turns over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flights.stream import TIMESTAMP, Slice

ROWS_A_DAY: Final = 200
START: Final = datetime(2024, 1, 1, tzinfo=UTC)
DAY_US: Final = 86_400_000_000
# Outcomes come three hours after their predictions.
DELAY_US: Final = 3 * 3_600_000_000
GROUPS: Final = ("a", "b", "c")


def document(model: str, **changes: Any) -> dict[str, Any]:
    """The model's declaration; changes replace whole parts of it."""
    return {
        "model": model,
        "owner": "journeys",
        "task": "binary",
        "features": {
            "x": "number",
            "group": "category",
            "wind": {"type": "number", "view": f"{model}-air", "entity": "group", "max_age": "36h", "on_stale": None},
        },
        "segments": ["group"],
        "outcome": {"expected_within": "1d", "loss": "log_loss"},
        "train": {"entry": "toy_training:train", "timeout": "2m"},
        "monitor": {"trigger": {"min_outcomes": 100, "closes": "00:00Z"}},
        "retrain": {"fresh_outcomes": 400},
        # The back-test's fit ends before the world turns over, so it can't be better yet; live outcomes decide.
        "gate": {"must_beat_incumbent_by": -0.05, "floors": ["last_24h_rate"]},
        "rollout": {"mode": "shadow", "look_after": ["6d", "12d"]},
    } | changes


def view(model: str) -> dict[str, Any]:
    """The declaration of the view that supplies the model's wind."""
    return {"view": f"{model}-air", "entity": "group", "features": {"wind": "number"}, "ttl": "36h"}


@dataclass(frozen=True)
class Toy:
    """The world of one model: the same name is the same world."""

    model: str

    def history(self, days: int) -> Slice:
        """The days before the replay, as it was before anything turned over."""
        parts = [self.day(n, 1.5) for n in range(days)]
        return Slice(
            START,
            *(
                pa.concat_tables([getattr(part, name) for part in parts])
                for name in ("weather", "predictions", "outcomes")
            ),
        )

    def day(self, n: int, slope: float) -> Slice:
        """Day n: the chance of a 1 is logistic in slope times x."""
        random = np.random.Generator(np.random.Philox([n, sum(self.model.encode())]))
        # Days differ, as days do: else a detector that is held to them alarms at nothing.
        shift = random.normal(0, 0.25)
        x = random.normal(size=ROWS_A_DAY)
        y = (random.random(ROWS_A_DAY) < 1 / (1 + np.exp(-(slope * x + shift)))).astype(np.int64)
        start = int(START.timestamp() * 1e6) + n * DAY_US
        asked = start + np.sort(random.integers(3_600_000_000, 18 * 3_600_000_000, ROWS_A_DAY))
        group = random.choice(GROUPS, ROWS_A_DAY)
        ids = pa.array([f"{self.model}/{n}/{row}" for row in range(ROWS_A_DAY)])
        return Slice(
            START + timedelta(days=n),
            self._air(start, random),
            pa.table(
                {
                    "prediction_id": ids, "time": times(asked), "entity": ids, "features.x": x,
                    "features.group": pa.array(group.tolist()), "segment.group": pa.array(group.tolist()),
                }
            ),
            pa.table({"prediction_id": ids, "time": times(asked + DELAY_US), "value": y}),
        )  # fmt: skip

    def _air(self, start: int, random: np.random.Generator) -> pa.Table:
        wind = random.gamma(4.0, 2.0, len(GROUPS))
        return pa.table({"entity": pa.array(GROUPS), "time": times(np.full(len(GROUPS), start)), "values.wind": wind})


def times(microseconds: npt.NDArray[Any]) -> pa.Array:
    """Event times."""
    return pa.array(microseconds, pa.int64()).cast(TIMESTAMP)
