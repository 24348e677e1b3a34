"""Alarm, retrain, shadow, gate: one walk round the circle, from nothing but arrays."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score

from driftloop_models import log_loss
from flights.offline.floors import last_24h_rate
from flights.offline.seen import Seen
from flights.offline.versions import SEED, Floats, Version, closes_of, log_losses, score, version, watch
from flights.story import CHAMPION_UNTIL, REPLAY_FROM
from flights.times import DAY, Minutes, minutes_at

FRESH_OUTCOMES: Final = 2000
LOOKS_AFTER_DAYS: Final = (7, 14)
RESAMPLES: Final = 2000
# One side of a 95 % interval.
TAIL: Final = 0.025


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
    """One walk. Times are UTC minutes; alarms of the champion until it is replaced, then those of the new version."""

    champion: Version
    alarms: list[int]
    retrained_at: int
    new: Version
    looks: list[Look]
    promoted_at: int | None
    alarms_after: list[int]
    month: Month


def walk(year: Seen, kind: str, until: datetime) -> Circle:
    """The circle from the replay's first day. until: how long the new version is watched for another alarm.

    Raises ValueError where the champion never alarms: there is no circle then.
    """
    start, end = minutes_at(REPLAY_FROM), minutes_at(until)
    champion = version(year, kind, minutes_at(CHAMPION_UNTIL))
    alarms = watch(year, champion, start, end)
    if not alarms:
        raise ValueError(f"the {kind} champion does not alarm before {until}")
    retrained_at = fresh_enough(year, start, alarms[0])
    new = version(year, kind, retrained_at)
    looks = [look(year, champion, new, retrained_at + days * DAY) for days in LOOKS_AFTER_DAYS]
    promoted_at = next((seen.at for seen in looks if seen.passes), None)
    return Circle(
        champion=champion,
        alarms=[alarm for alarm in alarms if promoted_at is None or alarm <= promoted_at],
        retrained_at=retrained_at,
        new=new,
        looks=looks,
        promoted_at=promoted_at,
        alarms_after=watch(year, new, promoted_at, end) if promoted_at else [],
        month=month(year, champion, new, retrained_at),
    )


def fresh_enough(year: Seen, since: int, alarm: int) -> int:
    """When the 2,000th outcome of the replay after the alarm has arrived."""
    rows = year.labelled & (year.asked_at >= since) & (year.outcome_at > alarm)
    return int(np.sort(year.outcome_at[rows])[FRESH_OUTCOMES - 1])


def look(year: Seen, champion: Version, challenger: Version, at: int) -> Look:
    """The gate's evidence at that time: predictions that both made since the challenger came, and their outcomes."""
    rows = np.flatnonzero(year.labelled & (year.asked_at >= challenger.until) & (year.outcome_at <= at))
    of_champion, of_challenger = (log_losses(year, one.model, rows) for one in (champion, challenger))
    gains = of_champion - of_challenger
    floor = log_loss(last_24h_rate(year, year.arrived_by(challenger.until), rows), year.late[rows])
    days, lower = lower_bound(closes_of(year.outcome_at[rows]), gains)
    return Look(at, len(rows), days, float(gains.mean()), lower, float(of_challenger.mean()), float(floor.mean()))


def month(year: Seen, champion: Version, new: Version, since: int) -> Month:
    """What the retrain was worth in the 28 days after it."""
    rows = np.flatnonzero(year.labelled & (year.asked_at >= since) & (year.outcome_at <= since + 28 * DAY))
    late = year.late[rows]
    old, fresh = (score(year, one.model, rows) for one in (champion, new))
    floor = last_24h_rate(year, year.arrived_by(since), rows)
    return Month(
        champion_loss=float(log_loss(old, late).mean()),
        new_loss=float(log_loss(fresh, late).mean()),
        floor_loss=float(log_loss(floor, late).mean()),
        champion_auc=float(roc_auc_score(late, old)),
        new_auc=float(roc_auc_score(late, fresh)),
    )


def lower_bound(days: Minutes, gains: Floats) -> tuple[int, float]:
    """Number of days, and the lower bound of the mean gain when whole days are drawn: their rows share the weather."""
    _, which, counts = np.unique(days, return_inverse=True, return_counts=True)
    totals = np.bincount(which, gains)
    drawn = np.random.default_rng(SEED).integers(0, len(totals), size=(RESAMPLES, len(totals)))
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return len(totals), float(np.quantile(means, TAIL))


def when(minutes: int) -> datetime:
    """Minutes since 1970 as a moment."""
    return datetime.fromtimestamp(minutes * 60, UTC)
