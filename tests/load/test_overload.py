"""L3: three doors are asked for three times what they can do, beside clients that only hold on; and for bodies that can't be.

What is too much is refused at once, with a word when to come again; a service lives, keeps its memory, and is as before soon.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.faults.report import Report
from tests.faults.results import ROOT, size
from tests.load import wrong_lengths
from tests.load.overload_driver import LAST_ANSWERS_S, Orders
from tests.load.overload_watch import Ordinary, Watch
from tests.load.overload_world import Door, doors

pytestmark = [pytest.mark.faults, pytest.mark.stack]
OVER: Final = 3.0
# A moment is lost at the beginning.
PLANNED: Final = 3.15
ALLOWED: Final = ("200", "429", "503")
STARTS_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Course:
    """How long each door is asked for too much."""

    seconds: float
    calm_s: float
    """For measuring what is usual, and what a door can do."""


COURSES: Final = {"whole": Course(120.0, 10.0), "fast": Course(8.0, 2.0)}


@dataclass(frozen=True, slots=True)
class Round:
    """What came of it at one door."""

    can_per_s: float
    due_per_s: float
    asked_per_s: float
    """What was due while all connections waited for their answers was not asked: then the door is as full as it can be."""
    told_per_s: dict[str, float]
    otherwise: int
    """Answers that are neither what was asked for nor a refusal that says when, connections that broke, silences."""
    grown_mib: float
    dead: list[str]
    live_s: float
    p99_ms: float
    recovered_s: float
    slow: dict[str, float]


def test_more_than_can_be_done_is_refused_and_nothing_suffers(
    kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    course = COURSES[size()]
    with doors(kafka, tmp_path, service_database) as found:
        rounds = {name: overload(door, course) for name, door in found.items()}
        with ThreadPoolExecutor(len(found)) as threads:
            lengths = dict(zip(found, threads.map(told_of_lengths, found.values()), strict=True))
    every = list(rounds.values())
    wrong = {name: statuses for name, (statuses, _) in lengths.items() if not refused(statuses.values())}
    report(
        "L3", rounds=len(every), seconds=course.seconds,
        over=min(round(one.due_per_s / one.can_per_s, 2) for one in every),
        lightness=-min(one.due_per_s / one.can_per_s for one in every), otherwise=sum(one.otherwise for one in every),
        never_full=sum(not one.told_per_s.get("503") for one in every),
        rss_grown_mib=max(one.grown_mib for one in every), dead=sum(len(one.dead) for one in every),
        live_s=max(one.live_s for one in every), recovered_s=max(one.recovered_s for one in every),
        lengths_wrong=len(wrong), lengths_said=wrong, lengths_rss_grown_mib=max(grown for _, grown in lengths.values()),
        doors={name: asdict(one) for name, one in rounds.items()},
        bounds={
            "lightness": -OVER, "never_full": 0, "otherwise": 0, "rss_grown_mib": 100, "dead": 0, "recovered_s": 10,
            "lengths_wrong": 0, "lengths_rss_grown_mib": 20,
        },
    )  # fmt: skip


def overload(door: Door, course: Course) -> Round:
    """What the door can do is measured, then it is asked for more."""
    port = door.service.port
    can = driven(Orders(port, door.requests, course.calm_s, per_second=0))
    assert set(can["statuses"]) <= set(ALLOWED), can
    can_per_s = can["statuses"]["200"] / course.calm_s
    ordinary = Ordinary(port, door.path, door.bodies)
    ordinary.learn(course.calm_s)
    with Watch(port, door.service.process.pid) as watch:
        orders = Orders(port, door.requests, course.seconds, per_second=PLANNED * can_per_s, slow_path=door.path)
        came = driven(orders)
        recovered_s = ordinary.recovered_s()
    told = Counter(came["statuses"])
    return Round(
        can_per_s=round(can_per_s, 1),
        due_per_s=round((came["asked"] + came["unasked"]) / course.seconds, 1),
        asked_per_s=round(came["asked"] / course.seconds, 1),
        told_per_s={status: round(count / course.seconds, 1) for status, count in told.items()},
        otherwise=sum(told.values())
        - sum(told[status] for status in ALLOWED)
        + came["without_when"]
        + came["broken"]
        + came["silent"],
        grown_mib=watch.grown_mib,
        dead=watch.dead,
        live_s=watch.slowest_s,
        p99_ms=came["p99_ms"],
        recovered_s=recovered_s,
        slow=came["slow"],
    )


def driven(orders: Orders) -> dict[str, Any]:
    """What came of it, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.overload_driver"], input=json.dumps(asdict(orders)), stdout=subprocess.PIPE,
        text=True, timeout=orders.seconds + LAST_ANSWERS_S + STARTS_WITHIN_S, check=True, cwd=ROOT,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def told_of_lengths(door: Door) -> tuple[dict[str, int], float]:
    """What each wrong length is told, and what memory that took."""
    with Watch(door.service.port, door.service.process.pid) as watch:
        statuses = wrong_lengths.told(door.service.port, door.path)
    return statuses, watch.grown_mib


def refused(statuses: Iterable[int]) -> bool:
    """Each of them is one of the two."""
    return all(status in wrong_lengths.REFUSALS for status in statuses)
