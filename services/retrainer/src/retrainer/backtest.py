"""Losses of a model on the back-test's rows: what a version is held to, and how it compares with the incumbent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftloop_detect.quantiles import loss_to_hold
from driftloop_detect.windows import Calendar
from driftloop_models import TableModel, losses

Floats = npt.NDArray[np.float64]
# One row is timed this often; the median forgives a busy machine.
TIMED_ROWS: Final = 50
# A slice with fewer rows says nothing about its loss.
MIN_SLICE_ROWS: Final = 100


@dataclass(frozen=True, slots=True)
class Rows:
    """The back-test's rows: columns of features, outcomes and when those arrived (microseconds since the epoch, UTC)."""

    columns: dict[str, Any]
    outcomes: list[Any]
    arrived_us: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's losses, row by row."""

    gate: Floats
    trigger: Floats
    log_loss: float | None
    auc: float | None


def scored(model: TableModel, rows: Rows, gate_loss: str, trigger_loss: str) -> Scored:
    """The model's losses on these rows. Raises ModelRefused for outcomes that are none of its classes."""
    score, truth = model.score(rows.columns), model.places(rows.outcomes)
    binary = model.task == "binary"
    return Scored(
        losses(gate_loss, score, truth),
        losses(trigger_loss, score, truth),
        float(losses("log_loss", score, truth).mean()) if model.task != "regression" else None,
        auc(score, truth) if binary else None,
    )


def auc(score: Floats, truth: Floats) -> float | None:
    """Probability that a positive scores above a negative, ties counting half. None without both kinds.

    Source: Hanley & McNeil 1982, by midranks.
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return None
    _, which, counts = np.unique(score, return_inverse=True, return_counts=True)
    midranks = np.cumsum(counts) - (counts - 1) / 2
    above = midranks[which][truth > 0].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def held(found: Scored, rows: Rows, calendar: Calendar, loss: str, seed: int) -> dict[str, Any]:
    """`Backtest` of the wire: the loss to hold, with its windows and quantiles. Raises NotReady for too few rows."""
    bar = loss_to_hold(rows.arrived_us, found.trigger, calendar, seed=seed)
    return {
        "log_loss": found.log_loss,
        "auc": found.auc,
        "loss_to_hold": {
            "loss": loss,
            "n": bar.n,
            "mean": bar.mean,
            "interval": bar.interval,
            "quantiles": bar.quantiles.tolist(),
            "windows": [{"close": when(one.close_us), "mean": one.mean, "n": one.n} for one in bar.windows],
        },
    }


def by_slice(names: list[str], rows: Rows, candidate: Scored, incumbent: Scored | None) -> list[dict[str, Any]]:
    """The gate's loss on each value of each declared slice, where there are enough rows to say anything."""
    found = []
    for name in names:
        column = np.array(["" if value is None else str(value) for value in rows.columns[name]])
        for value in np.unique(column):
            chosen = column == value
            if chosen.sum() >= MIN_SLICE_ROWS:
                found.append(
                    {
                        "slice": {name: str(value)},
                        "rows": int(chosen.sum()),
                        "candidate": float(candidate.gate[chosen].mean()),
                        "incumbent": float(incumbent.gate[chosen].mean()) if incumbent else None,
                    }
                )
    return found


def latency_ms(model: TableModel, rows: Rows) -> float:
    """Median time to score one row, each row another."""
    times = []
    for at in range(min(TIMED_ROWS, len(rows.outcomes))):
        one = {name: [column[at]] for name, column in rows.columns.items()}
        started = perf_counter()
        model.score(one)
        times.append(perf_counter() - started)
    return median(times) * 1000


def when(moment_us: int) -> str:
    """RFC 3339 of microseconds since the epoch."""
    return datetime.fromtimestamp(moment_us / 1e6, UTC).isoformat()
