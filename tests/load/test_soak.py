"""L6: an hour of steady use, a rebalance a minute: nothing grows, and nothing is lost or done twice.

Samples of every service go to `.driftloop/faults/soak-<commit>.jsonl` while it runs. A slope is Theil-Sen's, over the
samples after a warm-up (`trend.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.faults.report import Report
from tests.faults.results import FOLDER, commit, size
from tests.load.soak_account import held, judged, stale
from tests.load.soak_users import Users, each
from tests.load.soak_world import KEEPING, Circle, circle, declared
from tests.load.trend import Samples, Trend

pytestmark = [pytest.mark.faults, pytest.mark.stack]


@dataclass(frozen=True, slots=True)
class Course:
    """How long, and what a slope through so many samples can be held to."""

    seconds: float
    warm_up_s: float
    change_each_s: float
    sample_each_s: float
    bounds: Mapping[str, float]


FLAT: Final = {"fds_grown": 1.0, "threads_grown": 1.0, "tasks_grown": 1.0}
COURSES: Final = {
    "whole": Course(3600.0, 600.0, 60.0, 10.0, {"rss_mib_per_10min": 1.0, **FLAT}),
    # In half a minute a process that is still warming up rises like one that leaks: only what runs away is seen.
    "fast": Course(60.0, 30.0, 10.0, 1.0, {"rss_grown_mib": 8.0, **FLAT}),
}


async def test_an_hour_of_steady_use_with_a_rebalance_a_minute(
    kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    course, history = COURSES[size()], tmp_path / "history"
    urls = {name: await asyncio.to_thread(service_database, name) for name in KEEPING}
    await declared(kafka, tmp_path)
    samples = Samples(FOLDER / f"soak-{commit()}-{time.time():.0f}.jsonl")
    with circle(kafka, tmp_path, urls) as around:
        users = Users(kafka, *(around.parts[name].url for name in ("serving", "feature_store", "console")))
        changes = await used(users, around, course, samples)
        restarts = around.restarts()
        await held(kafka, around, urls, history)
        verdict, behind = await judged(users, urls, history), await stale(users, urls["feature_store"])
    trends = samples.trends(course.warm_up_s)
    report(
        "L6", verdict, bounds={**course.bounds, "restarts": 0, "crashes": 0, "stale": 0, "refused": 0, "indefinite": 0},
        seconds=round(course.seconds), changes=changes, restarts=restarts, crashes=sum(map(bool, around.codes)),
        stale=behind, commands=users.commands, refusals=users.refusals[:3], **worst(trends), parts=shown(trends),
    )  # fmt: skip


async def used(users: Users, around: Circle, course: Course, samples: Samples) -> int:
    """The time is over: all was used, and watched; how often a group was dealt anew."""
    using = asyncio.create_task(users.use())
    watching = asyncio.create_task(watch(around, course, samples, users.over))
    changing = asyncio.create_task(change(around, course, users.over))
    ending = asyncio.create_task(asyncio.sleep(course.seconds))
    await asyncio.wait({using, watching, changing, ending}, return_when=asyncio.FIRST_COMPLETED)
    users.over.set()
    await asyncio.gather(using, watching)
    return await changing


async def watch(around: Circle, course: Course, samples: Samples, over: asyncio.Event) -> None:
    """Samples until it is over."""
    async for _ in each(course.sample_each_s, over):
        await asyncio.to_thread(samples.take, around.pids(), around.tasks)


async def change(around: Circle, course: Course, over: asyncio.Event) -> int:
    """A member comes or goes each minute until it is over; how often."""
    changes = 0
    async for number in each(course.change_each_s, over):
        await asyncio.to_thread(around.change, number)
        changes += 1
    return changes


def worst(trends: Mapping[str, Trend]) -> dict[str, float]:
    """The greatest of all parts."""
    names = ("rss_mib_per_10min", "rss_grown_mib", "fds_grown", "threads_grown", "tasks_grown")
    return {name: max(getattr(one, name) for one in trends.values()) for name in names}


def shown(trends: Mapping[str, Trend]) -> dict[str, Any]:
    """Of each part: MiB in the middle, MiB more in ten minutes, descriptors."""
    return {part: (one.rss_mib, one.rss_mib_per_10min, one.fds) for part, one in trends.items()}
