"""`python -m flights.offline`: the circle of both models and the controls, printed. Some minutes on one core."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import numpy as np

from driftloop_models import log_loss
from flights.faults import FAULTS, faulty
from flights.offline.circle import Circle, walk, when
from flights.offline.floors import FLOORS
from flights.offline.seen import Seen, days_shuffled, rows_shuffled, seen
from flights.offline.versions import log_losses, version, watch
from flights.story import CHAMPION_UNTIL, FAULT_CHAMPION_UNTIL, FAULT_FROM, FAULT_UNTIL
from flights.times import minutes_at
from flights.world import World, load

WATCHED_UNTIL: Final = datetime(2013, 8, 1, 9, tzinfo=UTC)
YEAR_END: Final = datetime(2014, 1, 1, 9, tzinfo=UTC)
QUIET_UNTIL: Final = datetime(2013, 4, 21, 9, tzinfo=UTC)
SHUFFLES: Final = 10


def told(kind: str, circle: Circle) -> Iterator[str]:
    """One walk in lines."""
    yield f"{kind}: alarm {when(circle.alarms[0]):%d %b}, retrained {when(circle.retrained_at):%d %b %H:%M}"
    for look in circle.looks:
        verdict = "passes" if look.passes else "held"
        yield f"  look {when(look.at):%d %b}: gain {look.gain:+.3f}, lower {look.lower:+.3f}, {look.days} days: {verdict}"
    after = [f"{when(alarm):%d %b}" for alarm in circle.alarms_after]
    month = circle.month
    yield f"  alarms after the promotion: {after or 'none'}"
    yield f"  28 days: log loss {month.champion_loss:.3f} -> {month.new_loss:.3f}, floor {month.floor_loss:.3f}"
    yield f"  28 days: AUC {month.champion_auc:.3f} -> {month.new_auc:.3f}"


def frozen(year: Seen, kind: str) -> Iterator[str]:
    """The frozen champion and the floors over the rest of the year, and its quiet spring."""
    until = minutes_at(CHAMPION_UNTIL)
    champion = version(year, kind, until)
    rows = np.flatnonzero(year.labelled & (year.asked_at >= until))
    yield f"{kind}, frozen, March to December: log loss {log_losses(year, champion.model, rows).mean():.4f}"
    quiet = watch(year, champion, until, minutes_at(QUIET_UNTIL))
    yield f"  alarms from 1 Mar to 21 Apr: {len(quiet)}"
    for name, floor in FLOORS.items():
        loss = log_loss(floor(year, year.arrived_by(until), rows), year.late[rows]).mean()
        yield f"  floor {name}: {loss:.4f}"


def shuffles(year: Seen, kind: str) -> Iterator[str]:
    """How often a champion alarms in a year whose days, or rows, are shuffled. Raises SystemExit where it is too often."""
    for name, shuffled, seeds, allowed in (
        ("days", days_shuffled, SHUFFLES, SHUFFLES // 3),
        ("rows", rows_shuffled, 3, 0),
    ):
        alarmed = 0
        for seed in range(seeds):
            other = shuffled(year, seed)
            champion = version(other, kind, minutes_at(CHAMPION_UNTIL))
            alarmed += bool(watch(other, champion, minutes_at(CHAMPION_UNTIL), minutes_at(YEAR_END)))
        yield f"{kind}, {name} shuffled: {alarmed} of {seeds} years alarm, allowed {allowed}"
        if alarmed > allowed:
            raise SystemExit(f"{kind}: a world without seasons alarms in {alarmed} of {seeds} years")


def faults(world: World) -> Iterator[str]:
    """Four weeks of each fault under a champion that knows its summer."""
    since, until = minutes_at(FAULT_FROM), minutes_at(FAULT_UNTIL)
    champion = version(seen(world), "boosted", minutes_at(FAULT_CHAMPION_UNTIL))
    for name in ("none", *FAULTS):
        year = seen(world if name == "none" else faulty(world, name, FAULT_FROM))
        rows = np.flatnonzero(year.labelled & (year.asked_at >= since) & (year.outcome_at <= until))
        alarms = [f"{when(alarm):%d %b}" for alarm in watch(year, champion, champion.until, until)]
        yield f"fault {name}: log loss {log_losses(year, champion.model, rows).mean():.4f}, alarms {alarms or 'none'}"


def main() -> None:
    """Print everything, line by line as it is known."""
    world = load()
    year = seen(world)
    for kind in ("linear", "boosted"):
        for line in (*told(kind, walk(year, kind, WATCHED_UNTIL)), *frozen(year, kind), *shuffles(year, kind)):
            print(line, flush=True)
    for line in faults(world):
        print(line, flush=True)


if __name__ == "__main__":
    main()
