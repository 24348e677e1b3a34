"""F7: the primary retires, dies or falls silent under eight clients of the registry, and its standby is promoted."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pytest
from tests.faults import postgres_parts
from tests.faults.account import Account, told
from tests.faults.postgres_pair import Server, at_both, follow, retire
from tests.faults.registry_door import verdicts
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.writers import Answer, Writers, first_ok_after, slowest

from driftloop_kit.schema import migrate
from driftloop_kit.testing import running
from driftloop_local.databases import ServiceDatabase, ensure_database

pytestmark = [pytest.mark.faults, pytest.mark.stack]
End = Literal["retired", "killed", "silent"]
ENDS: Final[dict[str, tuple[End, ...]]] = {
    "fast": ("retired", "killed"),
    "whole": ("retired", "killed", "silent", "retired", "killed", "silent"),
}
FIRST_WRITE_WITHIN_S: Final = 10.0
READ_ONLY_FOR_S: Final = 5.0
# As long as somebody needs to find out and to decide.
DECIDED_AFTER_S: Final = 1.0
SQLSTATE_25006: Final = "ReadOnlySQLTransactionError"


@dataclass(frozen=True, slots=True)
class Change:
    """The standby became the primary (seconds of `time.time`)."""

    end: End
    ended_at: float
    promoted_at: float


async def test_a_promoted_standby_is_found_and_nothing_that_was_acked_is_lost(
    kafka: str, tmp_path: Path, report: Report
) -> None:
    async with a_pair() as (primary, standby):
        database = await registry_database(primary, standby)
        with (
            running("registry", kafka, tmp_path, database.login_url) as registry,
            Account(tmp_path / "account") as account,
        ):
            changes, pair = list[Change](), (primary, standby)
            with Writers(registry.url, account) as writers:
                for end in ENDS[size()]:
                    changes.append(await changed(*pair, end))
                    pair = (pair[1], pair[0])
                    if len(changes) < len(ENDS[size()]):
                        await follow(*pair)
            assert not writers.failures
            registry.until_page("/ready", lambda said: said["ready"] and said["outbox_pending"] == 0)
            lines = told(account.path)
            found = await verdicts(lines, at_both(database.owner_url, pair[0]), kafka)
            report(
                "F7",
                found.on_topic,
                lost_in_rows=found.in_rows.lost,
                wrong_in_rows=found.in_rows.dup + found.in_rows.phantom,
                changes_without_event=found.untold,
                first_write_s={
                    f"{number} {one.end}": first_ok_after(lines, one.promoted_at) for number, one in enumerate(changes)
                },
                slowest_first_write_s=max(first_ok_after(lines, one.promoted_at) for one in changes),
                read_only_after_5_s=sum(late_25006(writers.answers, changes)),
                read_only_in_all=sum(SQLSTATE_25006 in one.words for one in writers.answers),
                slowest_s=slowest(writers.answers),
                restarts=int(registry.process.poll() is not None),
                bounds={
                    "lost_in_rows": 0, "wrong_in_rows": 0, "changes_without_event": 0, "restarts": 0,
                    "slowest_first_write_s": FIRST_WRITE_WITHIN_S, "read_only_after_5_s": 0,
                },
            )  # fmt: skip


async def changed(primary: Server, standby: Server, end: End) -> Change:
    """The primary ended so, the standby took its place, and clients had time to find it."""
    await asyncio.sleep(2)
    ended_at = time.time()
    match end:
        case "retired":
            await retire(primary)
        case "killed":
            postgres_parts.kill(primary.pid, children=True)
        case "silent":
            postgres_parts.stop(primary.pid)
    await asyncio.sleep(DECIDED_AFTER_S)
    promoted_at = await standby.promote()
    await asyncio.sleep(READ_ONLY_FOR_S + 3)
    # Who was replaced must not come back as if nothing had been.
    await primary.end()
    return Change(end, ended_at, promoted_at)


def late_25006(answers: Sequence[Answer], changes: Sequence[Change]) -> list[bool]:
    """Answers that tell of a server which only reads, more than 5 s after another had taken its place."""
    spans = [
        (one.promoted_at + READ_ONLY_FOR_S, later)
        for one, later in zip(changes, [*(change.ended_at for change in changes[1:]), float("inf")], strict=True)
    ]
    return [
        SQLSTATE_25006 in answer.words and any(since < answer.at < until for since, until in spans)
        for answer in answers
    ]


def a_home() -> Path:
    """A folder that whoever Postgres runs as can pass: it refuses to run as root."""
    home = Path(tempfile.mkdtemp(prefix="dl-"))
    home.chmod(0o755)
    return home


@asynccontextmanager
async def a_pair() -> AsyncIterator[tuple[Server, Server]]:
    """A primary and its standby."""
    home = a_home()
    primary, standby = Server(home / "a"), Server(home / "b")
    try:
        await primary.initialise()
        await primary.start()
        await follow(primary, standby)
        yield primary, standby
    finally:
        await primary.end()
        await standby.end()
        shutil.rmtree(home)


async def registry_database(primary: Server, standby: Server) -> ServiceDatabase:
    """The registry's, with its tables; both hosts stand in its addresses."""
    made = await ensure_database(primary.url, "registry", "of-its-owner", "of-its-service")
    both = ServiceDatabase(at_both(made.owner_url, primary, standby), at_both(made.login_url, standby, primary))
    await migrate("registry", both.owner_url)
    return both
