"""What the demo kills is dead, and what does not come back is said."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flights.demo import kills
from flights.demo.kills import PARTS, Killer
from flights.demo.parts import Stuck
from flights.demo.verdict import killed


@asynccontextmanager
async def sleeping() -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends by a kill alone."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRIFTLOOP_HOME", str(tmp_path))
    return tmp_path


def record(home: Path, pid: int | None) -> None:
    """As the supervisor writes it: whole, or not at all."""
    part = {"pid": pid, "state": "ready" if pid else "waiting"}
    (home / "new").write_text(json.dumps({"parts": dict.fromkeys(PARTS, part)}))
    (home / "new").rename(home / "stack.json")


async def month_without(part: asyncio.subprocess.Process, home: Path, killer: Killer) -> None:
    """The part dies, and the month ends before it is back."""
    async with killer.at_work(lambda words: None):
        killer.reached(1.0)
        await part.wait()
        record(home, None)


async def test_a_part_is_killed_when_it_is_due_and_counts_once_it_is_back(home: Path) -> None:
    killer, told = Killer(1, seed=1), list[str]()
    async with sleeping() as first, sleeping() as second:
        record(home, first.pid)
        async with killer.at_work(told.append):
            killer.reached(1.0)
            await asyncio.wait_for(first.wait(), 10)
            assert killer.killed == []
            record(home, second.pid)
            async with asyncio.timeout(10):
                while not killer.killed:  # noqa: ASYNC110  # another task
                    await asyncio.sleep(0.01)
        assert second.returncode is None
    assert [check.so for check in killed(killer)] == [True]


async def test_a_part_that_does_not_come_back_is_said_after_the_month(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kills, "BACK_WITHIN_S", 0.2)
    killer = Killer(2, seed=1)
    async with sleeping() as only:
        record(home, only.pid)
        with pytest.raises(Stuck, match="was not ready within"):
            await month_without(only, home, killer)
    assert [check.so for check in killed(killer)] == [False]


async def test_kills_that_never_became_due_are_missed(home: Path) -> None:
    killer = Killer(3, seed=1)
    async with killer.at_work(lambda words: None):
        killer.reached(0.0)
    assert [check.so for check in killed(killer)] == [False]
    assert killed(Killer(0, seed=1)) == []
