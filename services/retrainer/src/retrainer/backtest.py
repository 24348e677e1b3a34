"""Losses of a model on the back-test's rows: what a version is held to, and how it compares with the incumbent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftloop_detect.calendar import Calendar
from driftloop_detect.quantiles import loss_to_hold
from driftloop_models import TableModel, columns_of, losses
from driftloop_models.wrap import check_scores
from retrainer.domain import Training

Floats = npt.NDArray[np.float64]
# One row is timed this often; the median forgives a busy machine.
TIMED_ROWS: Final = 50
# A slice with fewer rows says nothing about its loss.
MIN_SLICE_ROWS: Final = 100
# The event has to fit on the log; a slice with more values than this is an identifier.
MAX_SLICES: Final = 200
FITS: Final = {
    "binary": ("log_loss", "brier", "squared"),
    "multiclass": ("log_loss", "brier"),
    "regression": ("squared",),
}


class LossRefused(Exception):  # a fact, like ModelRefused
    """The declared loss says nothing about such a model."""


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


def check_losses(training: Training) -> None:
    """Raises LossRefused for a loss that says nothing about such a task, before anything is fitted."""
    allowed = FITS[training.task]
    for name, loss in (("outcome.loss", training.gate_loss), ("monitor.trigger.loss", training.trigger_loss)):
        if loss not in allowed:
            raise LossRefused(f"{name} {loss} does not fit task {training.task}; allowed: {', '.join(allowed)}")


def rows_of(rows: pa.Table, training: Training) -> Rows:
    """The table as a back-test reads it."""
    features: Any = training.features
    arrived = rows["outcome_time"].cast(pa.int64()).to_numpy()
    return Rows(dict(columns_of(rows, features)), rows[training.target].to_pylist(), arrived)


def evidence(training: Training, fitted: TableModel, incumbent: TableModel | None, rows: Rows) -> dict[str, Any]:
    """How the candidate and the incumbent did on the same rows, in the words of `CandidateTrained`.

    fitted: of rows before these. Raises NotReady for too few rows.
    """
    candidate, champion = scored(fitted, rows, training), scored(incumbent, rows, training) if incumbent else None
    return {
        "backtest": held(candidate, rows, training),
        "incumbent": held(champion, rows, training) if champion else None,
        "incumbent_version": training.incumbent_version,
        "gain": float((champion.gate - candidate.gate).mean()) if champion else None,
        "slices": by_slice(training.slices, rows, candidate, champion),
    }


def scored(model: TableModel, rows: Rows, training: Training) -> Scored:
    """The model's losses on these rows.

    Raises ModelRefused for scores that are none, and for outcomes that are none of its classes.
    """
    score, truth = model.score(rows.columns), model.places(rows.outcomes)
    check_scores(model, score)
    return Scored(
        losses(training.gate_loss, score, truth),
        losses(training.trigger_loss, score, truth),
        float(losses("log_loss", score, truth).mean()) if model.task != "regression" else None,
        auc(score, truth) if model.task == "binary" else None,
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


def held(found: Scored, rows: Rows, training: Training) -> dict[str, Any]:
    """`Backtest` of the wire: the loss to hold, with its windows and quantiles. Raises NotReady for too few rows."""
    calendar = Calendar.of(timedelta(seconds=training.window_s), training.closes, training.min_outcomes)
    bar = loss_to_hold(rows.arrived_us, found.trigger, calendar, seed=training.seed)
    return {
        "log_loss": found.log_loss,
        "auc": found.auc,
        "loss_to_hold": {
            "loss": training.trigger_loss,
            "n": bar.n,
            "mean": bar.mean,
            "interval": bar.interval,
            "quantiles": bar.quantiles.tolist(),
            "windows": [{"close": when(one.close_us), "mean": one.mean, "n": one.n} for one in bar.windows],
        },
    }


def by_slice(names: list[str], rows: Rows, candidate: Scored, incumbent: Scored | None) -> list[dict[str, Any]]:
    """The gate's loss on each value of each declared slice, where there are enough rows to say anything; largest first."""
    found: list[tuple[int, dict[str, Any]]] = []
    for name in names:
        values, places = coded(rows.columns[name])
        counts = np.bincount(places)
        ours = np.bincount(places, candidate.gate) / counts
        theirs = np.bincount(places, incumbent.gate) / counts if incumbent else None
        for at in np.flatnonzero(counts >= MIN_SLICE_ROWS).tolist():
            loss = {"candidate": float(ours[at]), "incumbent": None if theirs is None else float(theirs[at])}
            found.append((int(counts[at]), {"slice": {name: values[at]}, "rows": int(counts[at]), **loss}))
    return [loss for _, loss in sorted(found, key=lambda one: (-one[0], str(one[1]["slice"])))[:MAX_SLICES]]


def coded(column: Any) -> tuple[list[Any], npt.NDArray[np.intp]]:
    """The distinct values in order of appearance, and each row's place among them; what is missing is a value, null."""
    codes: dict[Any, int] = {}
    plain = [None if value != value else value for value in np.asarray(column, dtype=object).tolist()]
    places = np.array([codes.setdefault(value, len(codes)) for value in plain], dtype=np.intp)
    return list(codes), places


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
