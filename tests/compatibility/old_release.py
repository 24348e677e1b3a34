"""The services of the commit before, in use, while today's migrations, and those of a release to come, reach their databases."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
from tests.compatibility.aged import Aged, said_by
from tests.compatibility.replicas import Balancer, balanced
from tests.compatibility.tables import Used, in_this_database, tables, watch
from tests.compatibility.test_rolling import KEEPING, MADE, MODEL, REPLICAS, Users, a_served_model, circle, heard
from tests.compatibility.versions import previous, unpacked
from tests.faults import reading
from tests.faults.account import Account, told
from tests.faults.verdict import Effect, Verdict, judge

from driftloop_contracts.topics import dead_letter_topics
from driftloop_kit.testing import ServiceProcess, bare_environment
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

WITHIN_S: Final = 180.0
__all__ = ["KEEPING", "old_release"]


async def old_release(stack: LocalStack, kafka: str, folder: Path, rest_s: float, used: Used) -> dict[str, Any]:
    """What its users were told while its tables changed and for a while before and after; `verdict` is of its predictions."""
    commit = previous()
    old = unpacked(commit, folder / "previous")
    made = {name: await asyncio.to_thread(_old_database, stack, name, old) for name in KEEPING}
    owners = {name: one.owner_url for name, one in made.items()}
    urls = {name: one.login_url for name, one in made.items()}
    await a_served_model(kafka, folder)
    with Account(folder / "account", synced=False) as account, circle(kafka, folder, urls, old) as services:
        for name in REPLICAS:
            services[name].until_page("/ready", lambda said: said["models"].get(MODEL, {}).get("champion"), WITHIN_S)
        async with balanced([services[name].url for name in REPLICAS], account) as balancer:
            users = Users(kafka, services["console"].url, balancer)
            async with _watched([in_this_database(stack, one) for one in made.values()], used), _using(users):
                await asyncio.sleep(rest_s)
                said = await asyncio.gather(*(asyncio.to_thread(_migrated, *one, {}) for one in owners.items()))
                widened = await asyncio.gather(*(_widened(stack, folder, *one) for one in made.items()))
                await asyncio.sleep(rest_s)
        verdict = await _judged(kafka, urls, services, account)
    return {
        "verdict": verdict, "previous": commit[:12], "new_files": sum(one.count(".sql") for one in said),
        "widened": sum(widened),
        "dead_letters": sum((await reading.ends(kafka, sorted(dead_letter_topics()))).values()),
        "restarts": sum(one.process.returncode != 0 for one in services.values()),
        **_told(balancer, users),
    }  # fmt: skip


def _told(balancer: Balancer, users: Users) -> dict[str, Any]:
    statuses = dict(balancer.statuses)
    return {
        "statuses": statuses, "non_2xx": sum(statuses.values()) - statuses.get("200", 0), "commands": users.commands,
        "commands_refused": len(users.refused),
    }  # fmt: skip


async def _judged(
    kafka: str, urls: Mapping[str, str], services: Mapping[str, ServiceProcess], account: Account
) -> Verdict:
    """Once everything that was said is read."""
    for name in REPLICAS:
        services[name].until_page("/ready", lambda said: said["spool_pending"] == 0)
    for name in KEEPING:
        await reading.until_read(urls[name], await reading.ends(kafka, heard(name)), WITHIN_S)
    rows = await reading.rows(urls["monitor"], MADE, MODEL)
    effects = [Effect(MODEL, row["prediction_id"], int(row["prediction_id"][1:])) for row in rows]
    return judge(told(account.path), sorted(effects, key=lambda effect: effect.seq))


@asynccontextmanager
async def _using(users: Users) -> AsyncIterator[None]:
    using = asyncio.create_task(users.use())
    try:
        yield
    finally:
        users.over.set()
        await using


@asynccontextmanager
async def _watched(admin_urls: Iterable[str], used: Used) -> AsyncIterator[None]:
    over = asyncio.Event()
    watching = [asyncio.create_task(watch(url, used, over)) for url in admin_urls]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*watching)


async def _widened(stack: LocalStack, folder: Path, name: str, made: ServiceDatabase) -> int:
    """A release to come gives every table of the service a column; how many those are."""
    admin = await asyncpg.connect(in_this_database(stack, made))
    try:
        there = await tables(admin)
    finally:
        await admin.close()
    coming = Aged(folder, f"coming_{name}")
    for number, table in enumerate(there, 1):
        coming.write(f"{number:04}_{table}.sql", f"ALTER TABLE \"{table}\" ADD COLUMN coming text NOT NULL DEFAULT 'x'")
    said = await said_by(coming.migrating(made.owner_url))
    assert said.count(".sql") == len(there), said
    return len(there)


def _old_database(stack: LocalStack, name: str, old: Mapping[str, str]) -> ServiceDatabase:
    """As that release makes it."""
    made = stack.create_service_database(f"{name}_{uuid.uuid4().hex[:8]}")
    assert ".sql" in _migrated(name, made.owner_url, old)
    return made


def _migrated(name: str, owner_url: str, code: Mapping[str, str]) -> str:
    """What the service's command says, of this code."""
    environment = bare_environment() | {f"{name.upper()}_DATABASE_URL": owner_url, **code}
    command = [sys.executable, "-m", name, "migrate"]
    return subprocess.run(command, env=environment, check=True, timeout=WITHIN_S, capture_output=True, text=True).stdout
