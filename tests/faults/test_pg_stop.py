"""F6: Postgres is there and answers nothing: no caller waits for it, the registry says so, and goes on at once afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest
from tests.faults import postgres_parts
from tests.faults.account import Account, told
from tests.faults.pages import Pages, slowest_s
from tests.faults.registry_door import a_database, verdicts
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.writers import Writers, first_ok_after, slowest

from driftloop_kit.testing import running
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]
STOPPED_S: Final = {"fast": 8.0, "whole": 30.0}
ANSWERED_WITHIN_S: Final = 5.0
TOLD_WITHIN_S: Final = 2.0
BACK_WITHIN_S: Final = 1.0
PAGE_WITHIN_S: Final = 1.0


async def test_while_postgres_hangs_nobody_waits_and_afterwards_it_goes_on_at_once(
    stack: LocalStack, kafka: str, tmp_path: Path, report: Report
) -> None:
    database = await a_database(stack)
    with running("registry", kafka, tmp_path, database.login_url) as registry, Account(tmp_path / "account") as account:
        with Pages(registry.url) as pages, Writers(registry.url, account) as writers:
            await asyncio.sleep(2)
            stopped = postgres_parts.stop(stack.pid("postgres"))
            try:
                await asyncio.sleep(STOPPED_S[size()])
            finally:
                back_at = postgres_parts.go_on(stopped.processes)
            await asyncio.sleep(2 * ANSWERED_WITHIN_S)
        assert not writers.failures
        registry.until_page("/ready", lambda said: said["ready"] and said["outbox_pending"] == 0)
        lines = told(account.path)
        found = await verdicts(lines, database.owner_url, kafka)
        report(
            "F6",
            found.on_topic,
            lost_in_rows=found.in_rows.lost,
            wrong_in_rows=found.in_rows.dup + found.in_rows.phantom,
            changes_without_event=found.untold,
            slowest_s=slowest(writers.answers),
            not_ready_after_s=round(pages.not_ready_after_s(stopped.at), 2),
            recover_s=first_ok_after(lines, back_at),
            pages_within_s=round(slowest_s([*pages.live, *pages.ready]), 2),
            not_live=pages.unanswered(),
            reasons=sorted(pages.reasons(stopped.at + TOLD_WITHIN_S, back_at)),
            restarts=int(registry.process.poll() is not None),
            bounds={
                "lost_in_rows": 0, "wrong_in_rows": 0, "changes_without_event": 0, "restarts": 0, "not_live": 0,
                "slowest_s": ANSWERED_WITHIN_S, "not_ready_after_s": TOLD_WITHIN_S, "recover_s": BACK_WITHIN_S,
                "pages_within_s": PAGE_WITHIN_S,
            },
        )  # fmt: skip
