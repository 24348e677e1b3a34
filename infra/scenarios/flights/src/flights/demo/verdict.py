"""Whether the loop closed: what `make demo` holds itself to, and the table of losses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.table import Table

from driftloop_contracts.control_plane import DeploymentChanged, ServedVersion
from driftloop_contracts.loop import CandidateTrained, ChallengerJudged, DriftDetected, RetrainRequested, TrainingFailed
from flights.demo.chronicle import Chronicle
from flights.demo.kills import Killer
from flights.demo.pace import Pace
from flights.demo.replayer import Counts

LOSS: Final = "loss:log_loss"
# A pace is kept when no more than this is missing: the last hour waits for what follows from it.
KEPT: Final = 0.95
# What must see each fault: the checks of the structure by kind, or the labels.
SIGNS: Final = {
    "ewr_celsius": {"contrast", "range"},
    "lga_null": {"missing"},
    "lga_stuck": {"stale"},
    "ev_renamed": {"unseen"},
    "ev_merged": {"feature"},
    "delay_in_seconds": {"range"},
    "late_in_percent": {"range"},
    "rolling_null": {"missing"},
    "clock_utc": {"feature", "range"},
    "late_rule": {"loss"},
}
FLOORS: Final = {"last 24 h rate": "loss:last_24h_rate", "base rate": "loss:base_rate"}


@dataclass(frozen=True, slots=True)
class Expected:
    """What the page of the demo lets a run assert; dates with a day of tolerance."""

    alarm: tuple[datetime, datetime]
    looks: int
    """The look at which the gate lets the candidate through."""
    gain: float
    lower: float
    stale: bool
    """The old version is of no use any more: worse than the last-24-h floor. Trees lose a third of what a line loses."""
    quiet: bool
    """No second alarm until the end. While the gate holds a candidate for two weeks, the old world's model goes on losing."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was to be so, and what was found."""

    what: str
    found: str
    so: bool


def checks(chronicle: Chronicle, expected: Expected, until: datetime) -> list[Check]:
    """The story went as it is known to go."""
    return [*circled(chronicle, expected), *better(chronicle, expected, until)]


def counted(counts: Counts, predictions: int, outcomes: int) -> list[Check]:
    """Nothing was lost on the way in, and nobody who asked was turned away."""
    return [
        Check(f"{predictions:,} predictions answered", f"{counts.predictions:,}", counts.predictions == predictions),
        Check(f"{outcomes:,} outcomes sent", f"{counts.outcomes:,}", counts.outcomes == outcomes),
        Check("no failed prediction request", "; ".join(counts.failed[:3]) or "none", not counts.failed),
    ]


def once(chronicle: Chronicle) -> list[Check]:
    """Whatever was repeated on the way: one training a request, one promotion a candidate at most."""
    asked = [event.id for event in chronicle.all(RetrainRequested)]
    ended = [event.data.request_id for event in chronicle.all(CandidateTrained)]
    ended += [event.data.request_id for event in chronicle.all(TrainingFailed)]
    trained = Counter(event.data.artifact_digest for event in chronicle.all(CandidateTrained))
    promoted = Counter(one.artifact_digest for one in promotions(chronicle))
    return [
        Check("one training for each request", f"{len(ended)} of {len(asked)}", sorted(ended) == sorted(asked)),
        Check("one promotion of a candidate at most", f"{promoted.total()} of {trained.total()}", promoted <= trained),
    ]


def promotions(chronicle: Chronicle) -> list[ServedVersion]:
    """The versions that became champion, in order."""
    changes = chronicle.all(DeploymentChanged)
    return [one.data.champion for one in changes if one.data.reason in ("first", "promoted") and one.data.champion]


def closed(chronicle: Chronicle) -> list[Check]:
    """The circle has closed at least once: an alarm, a request of its own, a candidate, a promotion."""
    alarms = {event.data.incident for event in chronicle.all(DriftDetected)}
    asked = {event.id for event in chronicle.all(RetrainRequested) if event.data.incident in alarms}
    candidates = chronicle.all(CandidateTrained)
    trained = {event.data.artifact_digest for event in candidates if event.data.request_id in asked}
    promoted = [one.version for one in promotions(chronicle) if one.artifact_digest in trained]
    told = f"{len(alarms)} incidents, {len(asked)} requests, {len(trained)} candidates, promoted: {', '.join(promoted) or 'none'}"
    return [Check("the circle has closed", told, bool(promoted))]


def paced(pace: Pace) -> list[Check]:
    """How fast the month went, where that was asked for."""
    if pace.per_second is None:
        return []
    measured = pace.measured()
    return [
        Check(
            f"{pace.per_second:g} events a second",
            f"{measured:.0f}, {pace.sent:,} in all",
            measured > pace.per_second * KEPT,
        )
    ]


def killed(killer: Killer) -> list[Check]:
    """What was to be killed was, and came back; nothing where nothing was to be."""
    if not killer.wanted:
        return []
    told = f"{len(killer.killed)}: {', '.join(killer.killed)}"
    return [Check(f"{killer.wanted} parts killed, each back", told, len(killer.killed) == killer.wanted)]


def circled(chronicle: Chronicle, expected: Expected) -> list[Check]:
    """One alarm, one retrain, one promotion, each when it was due and on its evidence."""
    alarms = [event for event in chronicle.all(DriftDetected) if event.data.kind == "concept_drift"]
    asked = [event for event in chronicle.all(RetrainRequested) if event.data.incident]
    promoted = [event for event in chronicle.all(DeploymentChanged) if event.data.reason == "promoted"]
    judged = chronicle.all(ChallengerJudged)
    passed = judged[-1].data if judged else None
    looked = ", ".join(f"{one.data.look}: {one.data.verdict}" for one in judged)
    first = alarms[0].time if alarms else None
    early, late = expected.alarm
    return [
        Check(f"first alarm {early:%d %b} to {late:%d %b}", f"{first:%d %b}" if first else "none",
              first is not None and early.date() <= first.date() <= late.date()),
        Check("one alarm, no second" if expected.quiet else "an alarm", str(len(alarms)),
              len(alarms) == 1 if expected.quiet else bool(alarms)),
        Check("one retrain, after the alarm", str(len(asked)), len(asked) == 1 and first is not None and asked[0].time > first),
        Check(f"promoted at look {expected.looks}", looked or "no look", len(judged) == expected.looks and len(promoted) == 1),
        Check(f"gain above {expected.gain}, lower bound above {expected.lower}",
              f"{passed.gain:+.3f}, {passed.lower:+.3f}" if passed else "no judgement",
              passed is not None and passed.gain > expected.gain and passed.lower > expected.lower),
    ]  # fmt: skip


def better(chronicle: Chronicle, expected: Expected, until: datetime) -> list[Check]:
    """After the promotion the new version is better than the floor and than the old one, which is still scored."""
    promoted = [event for event in chronicle.all(DeploymentChanged) if event.data.reason == "promoted"]
    if not promoted or promoted[0].data.champion is None or promoted[0].data.previous is None:
        return [Check("the new version is better than the floor and the old one", "nothing was promoted", False)]
    since, data = promoted[0].time, promoted[0].data
    new = chronicle.loss(data.champion.version, LOSS, since, until) if data.champion else None
    old = chronicle.loss(data.previous.version, LOSS, since, until) if data.previous else None
    floor = floor_loss(chronicle, FLOORS["last 24 h rate"], since, until)
    if new is None or old is None or floor is None:
        return [Check("losses after the promotion are measured", f"new {new}, old {old}, floor {floor}", False)]
    worse = Check("frozen champion worse than the floor", f"{old[0]:.3f} > {floor[0]:.3f}", old[0] > floor[0])
    return [
        Check("new version better than the frozen champion", f"{new[0]:.3f} < {old[0]:.3f}", new[0] < old[0]),
        Check("new version better than the last-24-h floor", f"{new[0]:.3f} < {floor[0]:.3f}", new[0] < floor[0]),
        *([worse] if expected.stale else []),
    ]


def floor_loss(chronicle: Chronicle, signal: str, since: datetime, until: datetime) -> tuple[float, int] | None:
    """A floor is the same for every version; it is measured beside each champion."""
    versions = sorted({version for version, name in chronicle.points if name == signal})
    found = [loss for version in versions if (loss := chronicle.loss(version, signal, since, until))]
    return max(found, key=lambda one: one[1]) if found else None


def losses(chronicle: Chronicle, since: datetime, until: datetime) -> Table:
    """Frozen champion, what served, and the floors side by side, before and after the promotion."""
    promoted = [event for event in chronicle.all(DeploymentChanged) if event.data.reason == "promoted"]
    cut = promoted[0].time if promoted else until
    table = Table(
        "log loss per flight", f"{since:%d %b} – {cut:%d %b}", f"{cut:%d %b} – {until:%d %b}", title="What it gained"
    )
    newest = promoted[-1].data.champion.version if promoted and promoted[-1].data.champion else "1"
    rows = {
        "frozen champion (version 1)": [chronicle.loss("1", LOSS, *span) for span in ((since, cut), (cut, until))],
        "what served": [chronicle.loss("1", LOSS, since, cut), chronicle.loss(newest, LOSS, cut, until)],
        **{f"floor: {name}": [floor_loss(chronicle, signal, *span) for span in ((since, cut), (cut, until))]
           for name, signal in FLOORS.items()},
    }  # fmt: skip
    for name, found in rows.items():
        table.add_row(name, *(f"{one[0]:.3f}" if one else "–" for one in found))
    return table


def seen(chronicle: Chronicle, fault: str, since: datetime) -> list[Check]:
    """The fault was seen by what must see it; none but the changed label rule asks for a retrain, which is right there."""
    alarms = [
        event
        for event in chronicle.all(DriftDetected)
        if event.time >= since and event.data.signal.kind in SIGNS[fault]
    ]
    asked = [event for event in chronicle.all(RetrainRequested) if event.data.incident]
    first = alarms[0] if alarms else None
    advice = sorted({event.data.recommendation.action for event in alarms})
    told = f"{first.time:%d %b %H:%M}, {first.data.signal.kind} {first.data.signal.name}" if first else "no"
    found = [Check(f"{fault} is seen by {' or '.join(sorted(SIGNS[fault]))}", told, first is not None)]
    if fault == "late_rule":
        return [*found, Check("a retrain is asked for: what is true has changed", str(len(asked)), len(asked) >= 1)]
    return [
        *found,
        Check("the advice is to fix the pipeline", ", ".join(advice) or "none", advice == ["fix_pipeline"]),
        Check("no retrain is asked for", str(len(asked)), not asked),
    ]
