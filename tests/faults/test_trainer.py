"""F10: trainers are killed in the middle of trainings, and stopped past their lease: one candidate and one version a request."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.faults.account import Account, told
from tests.faults.loop_around import Around, around, until
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.trainings_view import Jobs, aged, doubled, half_written, retaken, stale_promotes, unfinished, versions
from tests.faults.verdict import judge

from driftloop_kit.testing import ServiceProcess

pytestmark = [pytest.mark.faults, pytest.mark.stack]

SEED = 10
KILLS, REQUESTS, STOPS = {"fast": (2, 6, 1), "whole": (20, 50, 8)}[size()]
CODE = str(Path(__file__).parent / "code")
# Twice a training: on the rows before the back-test, then on all. Long enough for a kill to meet it in any of its steps.
FIT_S = 0.6
KILLED_AFTER_S = (0.0, 3.0)
# The lease runs 10 s.
STOPPED_S = 14.0
AT_ONCE = 3
LEASE_WITHIN_S = 25.0
Database = Callable[[str], str]


@dataclass
class World:
    """A registry, and two trainers that share a database and an artifact store."""

    around: Around
    jobs: Jobs
    first: ServiceProcess
    second: ServiceProcess
    account: Account
    folder: Path
    asked: int = 0

    async def train(self) -> str:
        """A training is asked for, and its rows are there, of which it makes more than the one before. The request's id."""
        self.asked += 1
        event = await self.around.ask(f"r{self.asked}")
        with self.account.attempt("monitor", event.id, 0, event.id):
            await self.around.answer(await self.around.wish(event), await self.around.put(1_000.0 + self.asked))
        return event.id

    async def few_are_open(self) -> bool:
        """Whether one more may be asked for."""
        return self.asked - await self.jobs.ended() < AT_ONCE

    async def all_ended(self) -> None:
        """Every request's training has come to its end, and every candidate has its version."""
        await until(self._so_many, 120.0, "the trainings did not end")

    async def _so_many(self) -> bool:
        return await self.jobs.ended() == self.asked and len(await versions(self.around)) >= self.asked

    async def temporary(self) -> int:
        """What trainers have left in a day, once the first was started again and both are stopped: blobs, folders."""
        artifacts = self.folder / "artifacts"
        await asyncio.to_thread(self.first.stop)
        # A kill seldom meets the milliseconds of a write: one of its kind is there in any case.
        half_written(artifacts)
        aged(artifacts)
        await asyncio.to_thread(self.first.again)
        await asyncio.to_thread(self.first.stop)
        folders = [path for one in (self.first, self.second) for path in one.data.glob("training-*")]
        return len(folders) + len(unfinished(artifacts))


@asynccontextmanager
async def world(kafka: str, database: Database, folder: Path) -> AsyncIterator[World]:
    """Two trainers, of which the first is there, and a model whose candidates are promoted on their back-test alone."""
    urls = {name: await asyncio.to_thread(database, name) for name in ("registry", "retrainer")}
    registry = ServiceProcess("registry", kafka, folder, urls["registry"])
    made = []
    for name in ("first", "second"):
        (folder / name).mkdir()
        shared = {"RETRAINER_CODE_PATH": CODE, "DRIFTLOOP_ARTIFACTS": registry.artifacts}
        made.append(ServiceProcess("retrainer", kafka, folder / name, urls["retrainer"], port=None, words=(), **shared))
    async with AsyncExitStack() as stack:
        for service in (registry, made[0]):
            await asyncio.to_thread(stack.enter_context(service).until_ready)
        account = stack.enter_context(Account(folder / "told"))
        model = await stack.enter_async_context(around(kafka, registry.artifacts, "f10"))
        await model.declare("trainings:grown", params={"seconds": FIT_S}, rollout={"mode": "direct"}, gate={})
        jobs = await Jobs.of(urls["retrainer"])
        stack.push_async_callback(jobs.close)
        yield World(model, jobs, made[0], made[1], account, folder)


async def test_a_request_is_trained_once_whatever_happens_to_its_trainer(
    kafka: str, service_database: Database, tmp_path: Path, report: Report
) -> None:
    async with world(kafka, service_database, tmp_path) as here:
        killed_s = await killed_in_the_middle(here)
        with here.second:
            stopped_s = await stopped_past_their_lease(here)
            await here.all_ended()
        verdict = judge(told(here.account.path), await versions(here.around))
        doubles = doubled(await here.jobs.candidates_left())
        stale, promoted = await stale_promotes(here.around)
        temporary = await here.temporary()
    report(
        "F10", verdict, seed=SEED, kills=len(killed_s), stops=len(stopped_s), requests=here.asked, promoted=promoted,
        stale_promotes=stale, candidates_doubled=doubles, temporary=temporary, lease_after_kill_s=round(max(killed_s), 2),
        lease_after_stop_s=round(max(stopped_s), 2),
        bounds={
            "stale_promotes": 0, "candidates_doubled": 0, "temporary": 0, "lease_after_kill_s": LEASE_WITHIN_S,
            "lease_after_stop_s": LEASE_WITHIN_S,
        },
    )  # fmt: skip
    assert promoted > 1, "without a promotion none could have been stale"


async def killed_in_the_middle(here: World) -> list[float]:
    """The first trainer is killed in the middle of so many trainings; how long each waited to be taken up again."""
    moments, waited_s = random.Random(SEED), list[float]()
    while len(waited_s) < KILLS:
        request = await here.train()
        await until(partial(leased, here.jobs, request), what="nobody trains")
        await asyncio.sleep(moments.uniform(*KILLED_AFTER_S))
        await asyncio.to_thread(here.first.kill)
        at, in_the_middle = time.monotonic(), request in await here.jobs.running()
        await asyncio.to_thread(here.first.start)
        if in_the_middle:
            waited_s.append(await retaken(here.jobs, request, 1, at))
        await asyncio.to_thread(here.first.until_ready)
    await here.all_ended()
    return waited_s


async def stopped_past_their_lease(here: World) -> list[float]:
    """Two trainers, of which the first is stopped again and again; how long it took until the second had its training."""
    await asyncio.to_thread(here.second.until_ready)
    asking = asyncio.create_task(ask_for_all(here))
    waited_s = [await stopped_past_its_lease(here) for _ in range(STOPS)]
    await asking
    return waited_s


async def ask_for_all(here: World) -> None:
    """A few at once, so that some are trained against a champion that has been replaced when they end."""
    for _ in range(REQUESTS):
        await here.train()
        await until(here.few_are_open, 120.0, "nobody trains")


async def stopped_past_its_lease(here: World) -> float:
    """It is stopped while it trains, and goes on when another has its training. After how long the other had it."""
    pid = here.first.process.pid
    await until(partial(trains, here.first), 120.0, "the first trainer does not train")
    request = (await asyncio.to_thread(here.first.ready))["training"][0]["request_id"]
    attempt = (await here.jobs.attempts())[request]
    os.kill(pid, signal.SIGSTOP)
    since = time.monotonic()
    try:
        taken_s = await retaken(here.jobs, request, attempt, since)
        await asyncio.sleep(max(0.0, STOPPED_S - (time.monotonic() - since)))
    finally:
        os.kill(pid, signal.SIGCONT)
    return taken_s


async def trains(trainer: ServiceProcess) -> bool:
    """Whether it says so."""
    return bool((await asyncio.to_thread(trainer.ready)).get("training"))


async def leased(jobs: Jobs, request: str) -> bool:
    """Whether somebody trains it."""
    return request in await jobs.running()
