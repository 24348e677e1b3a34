"""F11: between services and their Kafka, and between services and their Postgres, nothing passes and nobody is told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Final

import pytest
from tests.faults.account import Account, told
from tests.faults.behind_proxies import KEEPS_NOTHING, World, behind_proxies
from tests.faults.framing import TO_CLIENT, TO_SERVER, Side
from tests.faults.pages import Pages, slowest_s, tasks
from tests.faults.proxy import Proxy
from tests.faults.registry_door import verdicts
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.writers import Answer, Writers, slowest

pytestmark = [pytest.mark.faults, pytest.mark.stack]
SERVICES: Final = {
    "fast": ("registry",),
    "whole": ("registry", "feature_store", "monitor", "retrainer", "serving", "console"),
}
HOLE_S: Final = {"fast": 15.0, "whole": 60.0}
CUTS: Final = {"fast": 20, "whole": 100}
SEED: Final = 33
# Nobody waits longer for a broker or a database that is silent, and so long afterwards nothing is left of it.
HUNG_AFTER_S: Final = 30.0
A_MOMENT_S: Final = 1.0
ANSWERED_WITHIN_S: Final = 5.0
PAGE_WITHIN_S: Final = 1.0
LOOK_S: Final = 0.25
# A page each, so often: the check is not a load.
PAGES_EACH_S: Final = 0.2
# Clients, after what was done to them.
GOES_ON_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Hole:
    """What was seen of one. Times in seconds."""

    longest_wait_s: float
    """Of a service for what was silent."""
    told_after_s: dict[str, float]
    """Until `/ready` named the reason, by service."""
    well_after_s: float
    """From its end until every service was as before: ready, nothing degraded, nothing unsent, no task more."""
    last: dict[str, str]
    """Who was the last of all to become so, and why it was not yet."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """How many there were, and when all was well after the last."""

    made: int
    well_after_s: float
    last: dict[str, str]


@dataclass(frozen=True, slots=True)
class Scene:
    """The services, what they say of themselves, and what is done to the registry meanwhile."""

    world: World
    pages: dict[str, Pages]
    account: Account
    answers: list[Answer]
    failures: list[BaseException]

    @asynccontextmanager
    async def under_writers(self, names: str) -> AsyncIterator[None]:
        """Clients change something at the registry until the block ends."""
        writers = Writers(self.world.services["registry"].url, self.account, names=names)
        async with beside(writers):
            yield
        self.answers.extend(writers.answers)
        self.failures.extend(writers.failures)


async def test_a_hole_hangs_nobody_and_what_was_acked_is_there_once(tmp_path: Path, report: Report) -> None:
    async with behind_proxies(SERVICES[size()]) as world:
        pages = {name: Pages(one.url, PAGES_EACH_S) for name, one in world.services.items()}
        with Account(tmp_path / "account") as account:
            scene = Scene(world, pages, account, [], [])
            async with beside(*pages.values()):
                async with scene.under_writers("warm"):
                    await asyncio.sleep(GOES_ON_S)
                before = await tasks_of(world)
                postgres = await hole(scene, world.postgres, frozenset(("postgres",)), before)
                kafka = await hole(scene, world.kafka, frozenset(("in", "out")), before)
                cut = await cuts(scene, before)
        lines = told(account.path)
        found = await verdicts(lines, world.databases["registry"].owner_url, world.broker.address)
    assert not scene.failures
    looks = [said for one in pages.values() for said in (*one.live, *one.ready)]
    report(
        "F11",
        found.on_topic,
        seed=SEED,
        lost_in_rows=found.in_rows.lost,
        wrong_in_rows=found.in_rows.dup + found.in_rows.phantom,
        changes_without_event=found.untold,
        told_again=found.told_again,
        hole_s=HOLE_S[size()],
        hung=sum(one.longest_wait_s > HUNG_AFTER_S + A_MOMENT_S for one in (postgres, kafka)),
        postgres=asdict(postgres),
        kafka=asdict(kafka),
        well_after_s=max(postgres.well_after_s, kafka.well_after_s),
        untold_reasons=sum(inf in one.told_after_s.values() for one in (postgres, kafka)),
        cuts=cut.made,
        well_after_cuts_s=cut.well_after_s,
        last_after_cuts=cut.last,
        slowest_s=slowest(scene.answers),
        pages_within_s=round(slowest_s(looks), 2),
        not_live=sum(one.unanswered() for one in pages.values()),
        restarts=sum(one.process.returncode != 0 for one in world.services.values()),
        bounds={
            "lost_in_rows": 0, "wrong_in_rows": 0, "changes_without_event": 0, "restarts": 0, "hung": 0, "not_live": 0,
            "well_after_s": HUNG_AFTER_S, "well_after_cuts_s": HUNG_AFTER_S, "untold_reasons": 0,
            "slowest_s": ANSWERED_WITHIN_S, "pages_within_s": PAGE_WITHIN_S,
        },
    )  # fmt: skip


async def hole(scene: Scene, proxy: Proxy, named: frozenset[str], before: dict[str, int]) -> Hole:
    """Nothing passes this proxy for a while, under clients who go on a little longer."""
    proxy.waits_s.clear()
    since = time.time()
    async with scene.under_writers(f"hole-{min(named)}"):
        with proxy.black_hole():
            await asyncio.sleep(HOLE_S[size()])
            longest_wait_s = proxy.longest_wait_s()
        ended_at = time.monotonic()
        await asyncio.sleep(GOES_ON_S)
    well_at, last = await until_as_before(scene.world, before)
    affected = [name for name in scene.pages if "in" in named or name not in KEEPS_NOTHING]
    told_after_s = {name: round(scene.pages[name].named_after_s(named, since), 1) for name in affected}
    return Hole(round(longest_wait_s, 1), told_after_s, round(well_at - ended_at, 1), last)


async def cuts(scene: Scene, before: dict[str, int]) -> Cuts:
    """Connections are reset at a moment within a message, each way, of both."""
    chance, proxies = random.Random(SEED), (scene.world.postgres, scene.world.kafka)
    async with scene.under_writers("cut"):
        for number in range(CUTS[size()]):
            side: Side = TO_SERVER if number % 2 else TO_CLIENT
            # Postgres' shortest message has five bytes.
            proxies[number // 2 % 2].cut(side, chance.randrange(10), chance.randrange(5))
            await asyncio.sleep(0.2)
        ended_at = time.monotonic()
    well_at, last = await until_as_before(scene.world, before)
    return Cuts(sum(proxy.cuts_made for proxy in proxies), round(well_at - ended_at, 1), last)


async def until_as_before(world: World, before: dict[str, int]) -> tuple[float, dict[str, str]]:
    """Since when every service is well and has no more tasks than before (`time.monotonic`), and who was the last that was not.

    Infinite after a minute.
    """
    deadline, last = time.monotonic() + 2 * HUNG_AFTER_S, dict[str, str]()
    while time.monotonic() < deadline:
        asked = [asyncio.to_thread(unlike_before, world, name, before[name]) for name in world.services]
        unlike = {name: how for name, how in zip(world.services, await asyncio.gather(*asked), strict=True) if how}
        if not unlike:
            return time.monotonic(), last
        last = unlike
        await asyncio.sleep(LOOK_S)
    return inf, last


def unlike_before(world: World, name: str, tasks_before: int) -> str:
    """In words; none when it is as before."""
    said, now = world.services[name].ready(), tasks(world.services[name].url)
    if not said.get("ready") or said.get("degraded") or said.get("outbox_pending"):
        return f"{said.get('reasons')} {said.get('degraded')} {said.get('outbox_pending')}"
    return f"{now} tasks, {tasks_before} before" if now > tasks_before else ""


async def tasks_of(world: World) -> dict[str, int]:
    """When all are well and nobody asks for anything; the most of some looks."""
    await until_as_before(world, dict.fromkeys(world.services, 10_000))
    most = dict.fromkeys(world.services, 0)
    for _ in range(10):
        for name, service in world.services.items():
            most[name] = max(most[name], await asyncio.to_thread(tasks, service.url))
        await asyncio.sleep(LOOK_S)
    return most


@asynccontextmanager
async def beside(*started: Writers | Pages) -> AsyncIterator[None]:
    """Their threads run while the block runs; this loop, in which the proxies are, does not stand still until they end."""
    for one in started:
        one.__enter__()
    try:
        yield
    finally:
        await asyncio.gather(*(asyncio.to_thread(one.__exit__, None, None, None) for one in started))
