"""One look at two versions: the paired gain on the same arrived outcomes, units of arrival as evidence.

Each unit is reduced to sums before the next is read, so a look costs the memory of one unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final, Literal

import numpy as np

from driftloop_detect import resample
from monitor.domain.losses import FloatArray, IntArray, last_24h_rate, losses
from monitor.domain.rows import BETWEEN, Arrivals, Paired
from monitor.domain.rules import Rules

Verdict = Literal["better", "worse", "undecided"]
# A slice of fewer rows is too small to hold a version back by it.
MIN_SLICE_ROWS: Final = 100


@dataclass(frozen=True, slots=True)
class Sum:
    """Rows, and the sum of what both versions lost on them."""

    rows: int = 0
    champion: float = 0.0
    challenger: float = 0.0

    def plus(self, other: Sum) -> Sum:
        """Both together."""
        return Sum(self.rows + other.rows, self.champion + other.champion, self.challenger + other.challenger)

    @property
    def gain(self) -> float:
        """Mean of champion minus challenger a row."""
        return (self.champion - self.challenger) / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of arrival, reduced."""

    close_us: int
    all: Sum
    with_floor: Sum
    """The rows before which some outcome had arrived within 24 hours."""
    floor: float
    """Sum of what the last 24 hours' rate lost on these."""
    slices: Mapping[str, Sum] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look says. All numbers are finite."""

    verdict: Verdict
    reason: str
    rows: int
    windows: int
    gain: float
    lower: float
    upper: float
    champion_loss: float
    challenger_loss: float
    floors: Mapping[str, float]
    slices_worse: tuple[str, ...]
    log_e: float
    resamples: int
    seed: int


def reduced(pair: Paired, arrivals: Arrivals, rules: Rules, close_us: int) -> Unit:
    """One unit's rows as sums. arrivals: from 24 hours before the earliest prediction on."""
    rates = last_24h_rate(pair.times_us, arrivals.arrived_us, arrivals.values)
    known = np.isfinite(rates)
    floor = losses(rules.gate_loss, rates, pair.values)
    return Unit(
        close_us,
        _sum(pair.champion, pair.challenger),
        _sum(pair.champion[known], pair.challenger[known]),
        float(np.nansum(floor[known])),
        {name: _sum(pair.champion[rows], pair.challenger[rows]) for name, rows in slices_of(pair.slices, rules.slices)},
    )


def look(units: Sequence[Unit], rules: Rules, seed: int, *, last: bool) -> Look:
    """The verdict on all units so far. Undecided at the last look is worse.

    better: the lower bound of the gain is above the margin, the challenger beats every declared floor, and no slice got
    clearly worse. worse: the upper bound of the gain is below the margin.
    """
    units = [unit for unit in units if unit.all.rows]
    judged = resample.judge(pairs_of([unit.all for unit in units]), seed=seed, margin=rules.margin)
    total, floored = summed(unit.all for unit in units), summed(unit.with_floor for unit in units)
    floors = {"last_24h_rate": sum(unit.floor for unit in units) / floored.rows} if floored.rows else {}
    worse = tuple(sorted(_slices_worse(units, seed)))
    verdict, reason = _verdict(judged, _beaten(floored, floors, rules), worse, last)
    rows = max(1, total.rows)
    return Look(
        verdict, reason, judged.rows, judged.windows, judged.gain, judged.lower, judged.upper,
        total.champion / rows, total.challenger / rows, floors, worse, judged.log_e, judged.resamples, seed,
    )  # fmt: skip


def seed_of(event_id: str) -> int:
    """A seed that everybody can derive from the event which asked for the comparison."""
    return int.from_bytes(hashlib.sha256(event_id.encode()).digest()[:4], "big")


def slices_of(slices: Sequence[str], names: Sequence[str]) -> list[tuple[str, IntArray]]:
    """Rows of each `name=value` of the named features."""
    found: dict[str, list[int]] = {}
    wanted = tuple(f"{name}=" for name in names)
    for row, labels in enumerate(slices):
        for label in labels.split(BETWEEN) if wanted else ():
            if label.startswith(wanted):
                found.setdefault(label, []).append(row)
    return [(label, np.array(rows, np.int64)) for label, rows in sorted(found.items())]


def pairs_of(sums: Sequence[Sum]) -> resample.PairedWindows:
    """Units as the resampling takes them."""
    return resample.PairedWindows(np.array([s.gain for s in sums], float), np.array([s.rows for s in sums], np.int64))


def summed(sums: Iterable[Sum]) -> Sum:
    """All of them together, from left to right."""
    return reduce(Sum.plus, sums, Sum())


def _sum(champion: FloatArray, challenger: FloatArray) -> Sum:
    return Sum(len(champion), float(champion.sum()), float(challenger.sum()))


def _beaten(floored: Sum, floors: Mapping[str, float], rules: Rules) -> list[str]:
    """The declared floors that the challenger does not beat."""
    mean = floored.challenger / floored.rows if floored.rows else np.inf
    return [name for name in rules.floors if name not in floors or mean >= floors[name]]


def _slices_worse(units: Sequence[Unit], seed: int) -> list[str]:
    names = dict.fromkeys(name for unit in units for name in unit.slices)
    return [name for name in names if _clearly_worse([u.slices[name] for u in units if name in u.slices], seed)]


def _clearly_worse(sums: Sequence[Sum], seed: int) -> bool:
    if sum(s.rows for s in sums) < MIN_SLICE_ROWS or len(sums) < resample.MIN_WINDOWS:
        return False
    return resample.bounds(pairs_of(sums), seed=seed)[1] < 0


def _verdict(judged: resample.Judgement, missed: list[str], worse: Sequence[str], last: bool) -> tuple[Verdict, str]:
    verdict, reason = judged.verdict, judged.reason
    if verdict == "better" and missed:
        verdict, reason = "undecided", f"{reason}; but it does not beat {', '.join(missed)}"
    if verdict == "better" and worse:
        verdict, reason = "undecided", f"{reason}; but it is worse on {', '.join(worse)}"
    if verdict == "undecided" and last:
        return "worse", f"undecided at the last look: {reason}"
    return verdict, reason
