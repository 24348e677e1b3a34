"""U4: the served model is replaced again and again while clients ask, then processes are asked to end: nobody is refused.

Three parts: swaps of one serving; SIGTERM to two servings behind a balancer; SIGTERM to two members of a group that reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from tests.compatibility.ending import ask, ended, gap_s, predictions, until_served
from tests.compatibility.replicas import balanced
from tests.compatibility.swapping import ASKED, Heard, Versions
from tests.faults.account import Account, Line, told
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.steady_asking import SteadyAsking
from tests.faults.stream import Stream
from tests.faults.tallying import Tallied, effects
from tests.faults.verdict import Effect, judge
from tests.load.watching import Peak

from driftloop_contracts.topics import PREDICTIONS
from driftloop_kit.testing import ServiceProcess
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]

SWAPS, ENDS = {"fast": (8, 2), "whole": (100, 20)}[size()]
PER_SECOND: Final = 200.0
# So many that one who waits for an answer holds up few others.
CLIENTS: Final = 24
# How long two versions are held before what they need is known.
WARM_S: Final = {"fast": 4.0, "whole": 60.0}[size()]
LOOK_S: Final = 0.02
# Those who stay have settled before the next thing happens.
REST_S: Final = 3.0


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the parts have measured; what clients were told in them, and what came of it."""
    return {"lines": [], "effects": [], "exits": []}


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of every process."""
    return {"DRIFTLOOP_ARTIFACTS": tmp_path_factory.mktemp("artifacts").as_uri(), "DRIFTLOOP_DRAIN_S": "2"}


def test_readers_that_end(
    stack: LocalStack, kafka: str, tmp_path: Path, found: dict[str, Any], common: dict[str, str]
) -> None:
    tallied = Tallied(stack, kafka, tmp_path)
    members = [tallied.member(name, **common) for name in ("m0", "m1")]
    with members[0], members[1], Account(tmp_path / "account", synced=False) as account:
        for member in members:
            member.until_ready()
        with Stream(kafka, account, PER_SECOND):
            tallied.first_after(time.time(), 60)
            begun, left = time.time(), []
            for number in range(ENDS):
                left.append(time.time())
                found["exits"].append(ended(members[number % 2]))
                time.sleep(REST_S)
                members[number % 2].again()
                time.sleep(REST_S)
            over = time.time()
        lines = told(account.path)
        tallied.until_all({line.id for line in lines if line.state == "ok"}, 60)
    rows = tallied.rows()
    assert {row.part for row in rows} == set(range(PREDICTIONS.partitions))
    leaving = [gap_s(rows, at, at + exit_s + REST_S) for at, (exit_s, _) in zip(left, found["exits"], strict=True)]
    found |= {"gap_s": round(max(leaving), 2), "gap_any_s": round(gap_s(rows, begun, over), 2)}
    kept(found, lines, effects(rows))


async def test_swaps(kafka: str, tmp_path: Path, found: dict[str, Any], common: dict[str, str]) -> None:
    versions = Versions(kafka, common["DRIFTLOOP_ARTIFACTS"], "swapped")
    await versions.make(SWAPS + 2)
    await versions.deploy(1, beside=[2])
    heard = Heard(versions.scores)
    with (
        Account(tmp_path / "account", synced=False) as account,
        ServiceProcess("serving", kafka, tmp_path, **common) as serving,
    ):
        await until_served(serving, versions.model, 1)
        with SteadyAsking(
            serving.port, versions.model, ASKED, account, PER_SECOND, heard.hear, clients=CLIENTS
        ) as asking:
            began = time.time()
            with Peak(serving.process.pid, LOOK_S) as two:
                await asyncio.sleep(WARM_S)
            with Peak(serving.process.pid, LOOK_S) as many:
                took_s = [await swapped(versions, serving, number) for number in range(3, SWAPS + 3)]
            over = time.time()
        await serving.eventually("/ready", lambda said: said["spool_pending"] == 0)
        made = await predictions(kafka, versions.model)
    noted = {effect.id: version for effect, version in made}
    found |= {
        "asked_per_s": round(asking.per_second(began, over)), "p99_ms": round(asking.p99_ms(began, over), 1),
        "swap_s": round(max(took_s), 2), "wrong": len(heard.wrong), "back": len(heard.back),
        "mistold": sum(noted.get(what) != version for what, version in heard.versions.items()),
        "unheard_versions": SWAPS + 1 - len(set(heard.versions.values())), "two_models_mib": round(two.most_mib),
        "swapping_mib": round(many.most_mib), "rss_ratio": round(many.most_mib / two.most_mib, 3),
    }  # fmt: skip
    kept(found, told(account.path), [effect for effect, _ in made])


async def test_servings_that_end(kafka: str, tmp_path: Path, found: dict[str, Any], common: dict[str, str]) -> None:
    versions = Versions(kafka, common["DRIFTLOOP_ARTIFACTS"], "drained")
    await versions.make(1)
    await versions.deploy(1)
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    replicas = [ServiceProcess("serving", kafka, folder, **common) for folder in folders]
    with Account(tmp_path / "account", synced=False) as account, replicas[0], replicas[1]:
        for replica in replicas:
            await until_served(replica, versions.model, 1)
        async with balanced([replica.url for replica in replicas], account) as balancer:
            over = asyncio.Event()
            asking = asyncio.create_task(ask(balancer, versions.model, PER_SECOND, over))
            for number in range(ENDS):
                found["exits"].append(await asyncio.to_thread(ended, replicas[number % 2]))
                replicas[number % 2].start()
                await until_served(replicas[number % 2], versions.model, 1)
                await asyncio.sleep(REST_S)
            over.set()
            asked_per_s = await asking
        for replica in replicas:
            await replica.eventually("/ready", lambda said: said["spool_pending"] == 0)
        made = sorted((effect for effect, _ in await predictions(kafka, versions.model)), key=lambda one: one.seq)
    found |= {"statuses": dict(balancer.statuses), "balanced_per_s": round(asked_per_s)}
    kept(found, told(account.path), made)


def test_u4(report: Report, found: dict[str, Any]) -> None:
    exits, statuses = found.pop("exits"), found["statuses"]
    assert len(exits) == 2 * ENDS, "a part has not come to its end"
    verdict = judge(found.pop("lines"), found.pop("effects"))
    report(
        "U4", verdict, swaps=SWAPS, ends=len(exits), exit_s=round(max(seconds for seconds, _ in exits), 1),
        bad_exits=sum(code != 0 for _, code in exits),
        non_200=verdict.refused + sum(count for status, count in statuses.items() if status != "200"),
        least_per_s=-min(found["asked_per_s"], found["balanced_per_s"]), **found,
        bounds={"non_200": 0, "indefinite": 0, "wrong": 0, "back": 0, "mistold": 0, "unheard_versions": 0, "rss_ratio": 1.2,
                "exit_s": 12.0, "bad_exits": 0, "gap_s": 3.0, "gap_any_s": 3.0, "least_per_s": -0.95 * PER_SECOND},
    )  # fmt: skip


async def swapped(versions: Versions, serving: ServiceProcess, number: int) -> float:
    """How long from the registry's word until this version answers."""
    began = time.monotonic()
    await versions.deploy(number)
    await until_served(serving, versions.model, number)
    return time.monotonic() - began


def kept(found: dict[str, Any], lines: Sequence[Line], made: Sequence[Effect]) -> None:
    """For the judge: the parts' clients have names of their own."""
    found["lines"] += lines
    found["effects"] += made
