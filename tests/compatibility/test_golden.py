"""Topics of past releases, heard again by today's code: the same ids are said, and the same state is reached.

Every release leaves a recording in `golden/<release>` (`python -m tests.compatibility.golden.record RELEASE`). A difference here
is a change of what a deployed circle decides when it replays: it needs a new major topic, not a new recording.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.compatibility.golden import dump
from tests.compatibility.golden.check import checked
from tests.compatibility.golden.replay import SERVICES
from tests.faults.report import Report

from monitor.domain.policy import alarmed

pytestmark = pytest.mark.stack
NAMES = sorted(SERVICES)
# A repository keeps recordings for ever.
MOST_BYTES = 2**20


async def test_each_release_is_said_and_remembered_as_it_was(
    service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    differences: list[str] = []
    records = ids = 0
    for release in dump.releases():
        for name in NAMES:
            scratch = tmp_path / release.name / name
            scratch.mkdir(parents=True)
            found = await checked(name, release, await asyncio.to_thread(service_database, name), scratch)
            differences += [f"{release.name}: {one}" for one in found.differences]
            ids += found.ids
            records = found.records
    print("\n".join(differences))
    report(
        "U2", bounds={"differences": 0, "fewest_ids": -1}, releases=len(dump.releases()), services=len(NAMES), records=records,
        ids=ids, differences=len(differences), fewest_ids=-ids,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("decision", "changed", "where"),
    [
        (
            "monitor.handlers.windows.severity_of",
            lambda since: ("info", "all is well"),
            "drift.v1",
        ),
        ("monitor.domain.policy.alarmed", lambda *given: replace(alarmed(*given), needed=401), "monitor.model_state"),
    ],
    ids=["how bad it is", "when enough was seen"],
)
async def test_a_changed_decision_is_seen(
    service_database: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decision: str,
    changed: Callable[..., object],
    where: str,
) -> None:
    monkeypatch.setattr(decision, changed)
    url = await asyncio.to_thread(service_database, "monitor")
    found = await checked("monitor", dump.releases()[-1], url, tmp_path)
    assert any(one.startswith(where) for one in found.differences), found.differences


def test_recordings_stay_small() -> None:
    for release in dump.releases():
        assert sum(file.stat().st_size for file in release.rglob("*") if file.is_file()) < MOST_BYTES
