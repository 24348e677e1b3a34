"""F4: the owner of every partition is stopped, another takes its place, and the one that wakes does no harm."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

import asyncpg
import pytest
from tests.faults.account import Account, told
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.stream import Stream
from tests.faults.tallying import Tallied, effects, regressions, zombie_rows
from tests.faults.verdict import judge

from driftloop_kit.testing import ServiceProcess
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]

ROUNDS: Final = {"fast": 2, "whole": 20}
STOPPED_S: Final = 15.0
# So long the one that woke up may do what it likes, before whoever looks after it ends it.
AWAKE_S: Final = 4.0
PER_SECOND: Final = 50.0
# The transaction is held open at its end, so that a stop can be aimed into it.
HELD: Final = "runner.before_commit=sleep:0.2"
# It holds the row by which a partition is owned, and nothing goes on.
HOLDING: Final = """
SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE relation = 'consumer_offset'::regclass AND state = 'idle in transaction' AND pid <> pg_backend_pid()
"""


@dataclass
class Found:
    """Over all rounds."""

    in_transaction: int = 0
    successors_s: list[float] = field(default_factory=list)


def test_who_was_stopped_and_replaced_does_no_harm(
    stack: LocalStack, kafka: str, tmp_path: Path, report: Report
) -> None:
    tallied, found = Tallied(stack, kafka, tmp_path), Found()
    with Account(tmp_path / "account") as account, watched_offsets(tallied) as went_back:
        owner = tallied.member("m", DRIFTLOOP_FAILPOINTS=HELD)
        owner.start()
        try:
            owner.until_ready()
            with Stream(kafka, account, PER_SECOND):
                for number in range(ROUNDS[size()]):
                    owner = replaced(tallied, owner, found, in_transaction=number % 2 == 0)
            lines = told(account.path)
            tallied.until_all({line.id for line in lines if line.state == "ok"}, 60)
            untold = tallied.untold()
        finally:
            owner.kill()
    rows = tallied.rows()
    report(
        "F4", judge(lines, effects(rows)), rounds=ROUNDS[size()], in_transaction=found.in_transaction,
        zombie_rows=zombie_rows(rows), regressions=regressions(rows) + len(went_back), untold=untold,
        successor_s=round(max(found.successors_s), 1),
        bounds={"zombie_rows": 0, "regressions": 0, "untold": 0, "successor_s": 20.0},
    )  # fmt: skip


def replaced(tallied: Tallied, owner: ServiceProcess, found: Found, *, in_transaction: bool) -> ServiceProcess:
    """Stopped, replaced by one of the same name, woken, and ended as its supervisor would. Returns the successor."""
    tallied.first_after(time.time(), 30)
    stopped_at = stopped(tallied, owner, in_transaction=in_transaction)
    found.in_transaction += in_transaction
    successor = tallied.member("m", DRIFTLOOP_FAILPOINTS=HELD)
    successor.start()
    found.successors_s.append(tallied.everywhere_by(str(successor.process.pid), 60) - stopped_at)
    time.sleep(max(0.0, stopped_at + STOPPED_S - time.time()))
    owner.process.send_signal(signal.SIGCONT)
    time.sleep(AWAKE_S)
    owner.kill()
    return successor


def stopped(tallied: Tallied, owner: ServiceProcess, *, in_transaction: bool) -> float:
    """When it was. Tries until it stands where it should."""
    deadline = time.monotonic() + 60
    while True:
        os.kill(owner.process.pid, signal.SIGSTOP)
        stopped_at = time.time()
        # A statement that was under way ends, and Postgres says so.
        time.sleep(0.05)
        if (tallied.ask(HOLDING)[0][0] > 0) == in_transaction:
            return stopped_at
        os.kill(owner.process.pid, signal.SIGCONT)
        assert time.monotonic() < deadline, "it is never stopped where it should be"
        time.sleep(0.07)


@contextmanager
def watched_offsets(tallied: Tallied) -> Iterator[list[str]]:
    """Every time that a stored offset or an epoch goes back while the block runs."""
    went_back: list[str] = []
    stop = Event()

    async def watch() -> None:
        connection = await asyncpg.connect(tallied.url)
        last: dict[int, tuple[int, int]] = {}
        while not stop.is_set():
            for row in await connection.fetch("SELECT part, next_offset, epoch FROM consumer_offset"):
                before = last.get(row["part"], (0, 0))
                if row["next_offset"] < before[0] or row["epoch"] < before[1]:
                    went_back.append(f"{row} after {before}")
                last[row["part"]] = (row["next_offset"], row["epoch"])
            await asyncio.sleep(0.02)
        await connection.close()

    thread = Thread(target=lambda: asyncio.run(watch()))
    thread.start()
    try:
        yield went_back
    finally:
        stop.set()
        thread.join(30)
