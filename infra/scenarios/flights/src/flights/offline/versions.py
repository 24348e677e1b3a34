"""Versions of the model, the bar that each is held to, and the days on which it alarms."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from river.drift import PageHinkley
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from driftloop_models import TableModel, brier, log_loss
from flights.offline.seen import Rows, Seen
from flights.times import DAY, HOUR, Minutes
from flights.train import train

Floats = npt.NDArray[np.float64]

CLOSES_AT: Final = 9 * HOUR
MIN_OUTCOMES: Final = 200
BACKTEST_DAYS: Final = 28
SEED: Final = 7


@dataclass(frozen=True)
class Version:
    """A fitted model with the bar that it is held to: the daily losses of its back-test."""

    model: TableModel
    until: int
    bar: Floats


def version(year: Seen, kind: str, until: int) -> Version:
    """A model of all that had arrived, and its bar: the last 28 closed days, scored by a fit that ended before them."""
    last_close = int(closes_of(np.array([until]))[0]) - DAY
    first = last_close - BACKTEST_DAYS * DAY
    past = fit(year, year.arrived_by(first), kind)
    rows = year.arrived_by(last_close)
    rows = rows[year.outcome_at[rows] > first]
    _, bar = daily(year, rows, brier(score(year, past, rows), year.late[rows]))
    return Version(fit(year, year.arrived_by(until), kind), until, bar)


def fit(year: Seen, rows: Rows, kind: str) -> TableModel:
    """What the scenario's train function makes of these rows."""
    columns = {name: pa.array(column[rows], from_pandas=True) for name, column in year.features.items()}
    table = pa.table({**columns, "late": year.late[rows].astype(np.int8)})
    # One thread, as in a training process: threads that wait for each other on a busy machine cost ten times the fit.
    with threadpool_limits(limits=1):
        return train(table, "late", {"kind": kind}, SEED)


def score(year: Seen, model: TableModel, rows: Rows) -> Floats:
    """P(late) of these rows, from the features as they were known."""
    with threadpool_limits(limits=1):
        return model.score({name: column[rows] for name, column in year.features.items()})


def log_losses(year: Seen, model: TableModel, rows: Rows) -> Floats:
    """The log loss of each row."""
    return log_loss(score(year, model, rows), year.late[rows])


def closes_of(times: Minutes) -> Minutes:
    """The close of each time's window: the first 09:00 UTC not before it."""
    closes: Minutes = -((CLOSES_AT - times) // DAY) * DAY + CLOSES_AT
    return closes


def daily(year: Seen, rows: Rows, losses: Floats) -> tuple[Minutes, Floats]:
    """Closes and mean losses of the days with at least MIN_OUTCOMES outcomes, by time of arrival."""
    closes, which, counts = np.unique(closes_of(year.outcome_at[rows]), return_inverse=True, return_counts=True)
    means = np.bincount(which, losses) / counts
    return closes[counts >= MIN_OUTCOMES], means[counts >= MIN_OUTCOMES]


def watch(year: Seen, held: Version, since: int, until: int) -> list[int]:
    """Closes at which the version alarms, on outcomes of what is asked from `since` on."""
    rows = np.flatnonzero(year.labelled & (year.asked_at >= since) & (year.outcome_at <= until))
    closes, means = daily(year, rows, brier(score(year, held.model, rows), year.late[rows]))
    whole = closes <= until
    return [int(close) for close, alarm in zip(closes[whole], alarms_of(held.bar, means[whole]), strict=True) if alarm]


def alarms_of(bar: Floats, means: Floats) -> list[bool]:
    """River's verdict on each day's loss, standardised by the bar, which has also primed the detector."""
    detector = PageHinkley(min_instances=20, delta=0.75, threshold=5, alpha=1.0, mode="up")
    alarms = []
    for value in np.concatenate([bar, means]):
        detector.update((value - bar.mean()) / bar.std(ddof=1))
        alarms.append(bool(detector.drift_detected))
    return alarms[len(bar) :]
