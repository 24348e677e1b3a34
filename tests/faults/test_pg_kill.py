"""F5: Postgres dies again and again under eight clients of the registry, and comes back."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from tests.faults import postgres_parts
from tests.faults.account import Account, Unanswered, longest_silence_ms, told
from tests.faults.postgres_parts import until_answers
from tests.faults.registry_door import a_database, verdicts
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.verdict import Effect, judge
from tests.faults.writers import Writers, change, first_ok_after, slowest

from driftloop_kit.testing import running
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]
KILLS: Final = {"fast": 3, "whole": 15}
SEED: Final = 11
# Who was well that long is started again at once when it dies.
WELL_S: Final = 4.0
REFUSED_WITHIN_S: Final = 2.0
BACK_WITHIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Outage:
    """When Postgres was killed and when it answered again, in seconds of `time.time`."""

    killed_at: float
    back_at: float


async def test_a_killed_postgres_loses_nothing_and_the_registry_lives_on(
    stack: LocalStack, kafka: str, tmp_path: Path, report: Report
) -> None:
    database = await a_database(stack)
    with running("registry", kafka, tmp_path, database.login_url) as registry, Account(tmp_path / "account") as account:
        pid = registry.process.pid
        with Writers(registry.url, account) as writers:
            outages = await killed_over_and_over(stack, KILLS[size()])
        assert not writers.failures
        registry.until_page("/ready", lambda said: said["ready"] and said["outbox_pending"] == 0)
        lines = told(account.path)
        found = await verdicts(lines, database.owner_url, kafka)
        report(
            "F5",
            found.on_topic,
            seed=SEED,
            lost_in_rows=found.in_rows.lost,
            wrong_in_rows=found.in_rows.dup + found.in_rows.phantom,
            changes_without_event=found.untold,
            told_again=found.told_again,
            kills=len(outages),
            recover_s=max(first_ok_after(lines, outage.back_at) for outage in outages),
            refused_within_s=slowest(writers.answers, 0, 503),
            unavailable_ms=round(longest_silence_ms(lines, outages[0].killed_at, outages[-1].back_at + BACK_WITHIN_S)),
            postgres_away_s=[round(outage.back_at - outage.killed_at, 1) for outage in outages],
            restarts=int(registry.process.poll() is not None or registry.process.pid != pid),
            bounds={
                "lost_in_rows": 0, "wrong_in_rows": 0, "changes_without_event": 0, "restarts": 0,
                "recover_s": BACK_WITHIN_S, "refused_within_s": REFUSED_WITHIN_S,
            },
        )  # fmt: skip


async def killed_over_and_over(stack: LocalStack, kills: int) -> list[Outage]:
    """The parent alone or all of its processes at once, at moments that a seed has chosen."""
    chance, outages = random.Random(SEED), list[Outage]()
    await asyncio.sleep(1)
    for number in range(kills):
        killed_at = postgres_parts.kill(stack.pid("postgres"), children=bool(number % 2))
        outages.append(Outage(killed_at, await until_answers(stack.postgres)))
        await asyncio.sleep(WELL_S + chance.random())
    return outages


async def test_the_judge_finds_what_a_commit_lost_that_was_answered_before_it_was_on_disk(
    stack: LocalStack, tmp_path: Path
) -> None:
    await asked(stack, "CREATE TABLE IF NOT EXISTS change (client text, seq int, PRIMARY KEY (client, seq))")
    with Account(tmp_path / "account") as account:
        clients = [asyncio.create_task(careless(stack, account, f"c{number}")) for number in range(4)]
        await asyncio.sleep(2)
        postgres_parts.kill(stack.pid("postgres"), children=True)
        await asyncio.gather(*clients)
    await until_answers(stack.postgres)
    rows = await asked(stack, "SELECT client, seq FROM change ORDER BY seq")
    verdict = judge(told(account.path), [Effect(name, change(name, seq), seq) for name, seq in rows])
    assert verdict.lost > 0
    assert verdict.dup == verdict.phantom == verdict.order_violations == 0


async def careless(stack: LocalStack, account: Account, name: str) -> None:
    """Commits without waiting for the disk until Postgres is gone."""
    connection, seq, answered = await asyncpg.connect(stack.postgres), 0, True
    await connection.execute("SET synchronous_commit = off")
    while answered:
        with account.attempt(name, name, seq, change(name, seq)):
            answered = False
            await inserted(connection, name, seq)
            answered = True
        seq += 1


async def inserted(connection: asyncpg.Connection[asyncpg.Record], name: str, seq: int) -> None:
    """Raises Unanswered when the connection breaks."""
    try:
        await connection.execute("INSERT INTO change VALUES ($1, $2)", name, seq)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise Unanswered(str(error)) from error


async def asked(stack: LocalStack, query: str) -> list[asyncpg.Record]:
    """The rows of its answer."""
    connection = await asyncpg.connect(stack.postgres)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()
