"""Kills parts at random while the month is replayed: one at a time, by SIGKILL; the supervisor brings each back."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

PARTS: Final = ("kafka", "postgres", "registry", "feature_store", "serving", "monitor", "retrainer", "console")
BACK_WITHIN_S: Final = 90.0
LOOK_EVERY_S: Final = 0.1


class Killer:
    """Decides by a seed what dies and how far into the month."""

    def __init__(self, kills: int, seed: int) -> None:
        chance = random.Random(seed)
        # Every part dies once before one dies twice.
        rounds = [part for _ in range(0, kills, len(PARTS)) for part in chance.sample(PARTS, len(PARTS))]
        moments = sorted(chance.uniform(0.02, 0.95) for _ in range(kills))
        self._due = list(zip(moments, rounds[:kills], strict=True))
        self._share = 0.0
        self._moved = asyncio.Event()

    def reached(self, share: float) -> None:
        """The month is so far, 0 to 1."""
        self._share = share
        self._moved.set()

    @asynccontextmanager
    async def at_work(self, tell: Callable[[str], None]) -> AsyncIterator[None]:
        """Kills while the block runs, each when it is due and the one before is back."""
        task = asyncio.create_task(self._kill_all(tell))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _kill_all(self, tell: Callable[[str], None]) -> None:
        for share, part in self._due:
            while self._share < share:
                self._moved.clear()
                await self._moved.wait()
            pid = int(str(status(part)["pid"]))
            os.kill(pid, signal.SIGKILL)
            tell(f"[magenta]KILL[/] {part}, process {pid}")
            await asyncio.wait_for(back(part, pid), BACK_WITHIN_S)


async def back(part: str, pid: int) -> None:
    """The part runs again, as another process, and is ready."""
    now = status(part)
    while now["pid"] in (pid, None) or now["state"] != "ready":
        await asyncio.sleep(LOOK_EVERY_S)
        now = status(part)


def status(part: str) -> dict[str, object]:
    """What the supervisor last wrote of the part."""
    record = json.loads((Path(os.environ["DRIFTLOOP_HOME"]) / "stack.json").read_text())
    return dict(record["parts"][part])
