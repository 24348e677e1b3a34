"""The whole circle in event time, without Kafka: alarm, retrain, shadow, gate, from nothing but arrays.

Written apart from the services that do the same on the log, so that each can be held against the other.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from river.drift import PageHinkley
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from driftloop_models import TableModel, brier, log_loss
from flights.floors import last_24h_rate
from flights.story import CHAMPION_UNTIL, REPLAY_FROM
from flights.times import DAY, HOUR, Minutes, minutes_at
from flights.train import train
from flights.world import World

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

CLOSES_AT: Final = 9 * HOUR
MIN_OUTCOMES: Final = 200
BACKTEST_DAYS: Final = 28
FRESH_OUTCOMES: Final = 2000
LOOKS_AFTER_DAYS: Final = (7, 14)
RESAMPLES: Final = 2000
# One side of a 95 % interval.
TAIL: Final = 0.025
SEED: Final = 7


@dataclass(frozen=True)
class Version:
    """A fitted model with the bar that it is held to: the daily losses of its back-test."""

    model: TableModel
    until: int
    bar: Floats


@dataclass(frozen=True)
class Look:
    """The paired gain of the challenger in log loss, with a lower bound from resampled days."""

    at: int
    rows: int
    days: int
    gain: float
    lower: float
    challenger_loss: float
    floor_loss: float

    @property
    def passes(self) -> bool:
        """As the gate decides: surely better than the champion, and better than no model at all."""
        return self.lower > 0 and self.challenger_loss < self.floor_loss


@dataclass(frozen=True)
class Month:
    """The 28 days after the retrain, champion against new version on the same rows."""

    champion_loss: float
    new_loss: float
    floor_loss: float
    champion_auc: float
    new_auc: float


@dataclass(frozen=True)
class Circle:
    """One walk round the circle."""

    champion: Version
    alarms: list[int]
    retrained_at: int
    new: Version
    looks: list[Look]
    alarms_after: list[int]
    month: Month

    @property
    def promoted_at(self) -> int | None:
        """The first look that passes."""
        return next((look.at for look in self.looks if look.passes), None)


def walk(world: World, kind: str, until: datetime, *, champion_until: datetime = CHAMPION_UNTIL) -> Circle:
    """The circle from the replay's first day. until: how long the new version is watched for another alarm."""
    start, end = minutes_at(REPLAY_FROM), minutes_at(until)
    champion = version(world, kind, minutes_at(champion_until))
    alarms = watch(world, champion, start, end)
    if not alarms:
        raise ValueError(f"the {kind} champion never alarms before {until}: there is no circle to walk")
    retrained_at = fresh_enough(world, start, alarms[0])
    new = version(world, kind, retrained_at)
    looks = [look(world, champion, new, retrained_at + days * DAY) for days in LOOKS_AFTER_DAYS]
    promoted_at = next((seen.at for seen in looks if seen.passes), None)
    return Circle(
        champion=champion,
        # The champion is watched until it is replaced; its shadow afterwards is measured, not watched.
        alarms=[alarm for alarm in alarms if promoted_at is None or alarm <= promoted_at],
        retrained_at=retrained_at,
        new=new,
        looks=looks,
        alarms_after=watch(world, new, promoted_at, end) if promoted_at else [],
        month=month(world, champion, new, retrained_at),
    )


def arrived_by(world: World, until: int) -> Rows:
    """Rows whose outcome had arrived, in order of arrival, as a dataset has them."""
    rows = np.flatnonzero(world.labelled & (world.outcome_at <= until))
    return rows[np.lexsort((world.entity[rows], world.outcome_at[rows]))]


def version(world: World, kind: str, until: int) -> Version:
    """A model of all that had arrived, and its bar: the last 28 closed days, scored by a fit that ended before them."""
    last_close = closes_of(np.array([until]))[0] - DAY
    first = last_close - BACKTEST_DAYS * DAY
    past = fit(world, arrived_by(world, first), kind)
    rows = arrived_by(world, last_close)
    rows = rows[world.outcome_at[rows] > first]
    _, bar = daily(world, rows, brier(score(world, past, rows), world.late[rows]))
    return Version(fit(world, arrived_by(world, until), kind), until, bar)


def fit(world: World, rows: Rows, kind: str) -> TableModel:
    """What the scenario's train function makes of these rows."""
    columns = {name: pa.array(column[rows], from_pandas=True) for name, column in world.all_features.items()}
    table = pa.table({**columns, "late": world.late[rows].astype(np.int8)})
    # One thread, as in a training process: threads that wait for each other on a busy machine cost ten times the fit.
    with threadpool_limits(limits=1):
        return train(table, "late", {"kind": kind}, SEED)


def score(world: World, model: TableModel, rows: Rows) -> Floats:
    """P(late) of these rows, from the features as they were known."""
    with threadpool_limits(limits=1):
        return model.score({name: column[rows] for name, column in world.all_features.items()})


def closes_of(times: Minutes) -> Minutes:
    """The close of each time's window: the first 09:00 UTC not before it."""
    closes: Minutes = -((CLOSES_AT - times) // DAY) * DAY + CLOSES_AT
    return closes


def daily(world: World, rows: Rows, losses: Floats) -> tuple[Minutes, Floats]:
    """Closes and mean losses of the days with at least MIN_OUTCOMES outcomes, by time of arrival."""
    closes, which, counts = np.unique(closes_of(world.outcome_at[rows]), return_inverse=True, return_counts=True)
    means = np.bincount(which, losses) / counts
    return closes[counts >= MIN_OUTCOMES], means[counts >= MIN_OUTCOMES]


def watch(world: World, held: Version, since: int, until: int) -> list[int]:
    """Closes at which the version alarms, on outcomes of what is asked from `since` on."""
    rows = np.flatnonzero(world.labelled & (world.asked_at >= since) & (world.outcome_at <= until))
    closes, means = daily(world, rows, brier(score(world, held.model, rows), world.late[rows]))
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


def fresh_enough(world: World, since: int, alarm: int) -> int:
    """When the 2,000th outcome of the replay after the alarm has arrived."""
    rows = world.labelled & (world.asked_at >= since) & (world.outcome_at > alarm)
    return int(np.sort(world.outcome_at[rows])[FRESH_OUTCOMES - 1])


def look(world: World, champion: Version, challenger: Version, at: int) -> Look:
    """The gate's evidence at that time: predictions that both made since the challenger came, and their outcomes."""
    rows = np.flatnonzero(world.labelled & (world.asked_at >= challenger.until) & (world.outcome_at <= at))
    of_champion, of_challenger = (_losses(world, one.model, rows) for one in (champion, challenger))
    gains = of_champion - of_challenger
    floor = log_loss(last_24h_rate(world, arrived_by(world, challenger.until), rows), world.late[rows])
    days, lower = _lower_bound(closes_of(world.outcome_at[rows]), gains)
    return Look(at, len(rows), days, float(gains.mean()), lower, float(of_challenger.mean()), float(floor.mean()))


def month(world: World, champion: Version, new: Version, since: int) -> Month:
    """What the retrain was worth in the 28 days after it."""
    rows = np.flatnonzero(world.labelled & (world.asked_at >= since) & (world.outcome_at <= since + 28 * DAY))
    late = world.late[rows]
    old, fresh = (score(world, one.model, rows) for one in (champion, new))
    floor = last_24h_rate(world, arrived_by(world, since), rows)
    return Month(
        champion_loss=float(log_loss(old, late).mean()),
        new_loss=float(log_loss(fresh, late).mean()),
        floor_loss=float(log_loss(floor, late).mean()),
        champion_auc=float(roc_auc_score(late, old)),
        new_auc=float(roc_auc_score(late, fresh)),
    )


def when(minutes: int) -> datetime:
    """Minutes since 1970 as a moment."""
    return datetime.fromtimestamp(minutes * 60, UTC)


def described(circle: Circle) -> dict[str, Any]:
    """The walk in words and numbers, for people."""
    return {
        "alarm": when(circle.alarms[0]).isoformat(),
        "retrained": when(circle.retrained_at).isoformat(),
        "looks": [f"{one.gain:+.3f}, lower {one.lower:+.3f}, {one.rows} rows, {one.days} days" for one in circle.looks],
        "promoted": when(circle.promoted_at).isoformat() if circle.promoted_at else None,
        "alarms after": [when(alarm).isoformat() for alarm in circle.alarms_after],
        "28 days": circle.month,
    }


def _losses(world: World, model: TableModel, rows: Rows) -> Floats:
    return log_loss(score(world, model, rows), world.late[rows])


def _lower_bound(days: Minutes, gains: Floats) -> tuple[int, float]:
    """Days and the lower bound of the mean gain when whole days are drawn: the rows of a day share their weather."""
    _, which, counts = np.unique(days, return_inverse=True, return_counts=True)
    totals = np.bincount(which, gains)
    drawn = np.random.default_rng(SEED).integers(0, len(totals), size=(RESAMPLES, len(totals)))
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return len(totals), float(np.quantile(means, TAIL))
