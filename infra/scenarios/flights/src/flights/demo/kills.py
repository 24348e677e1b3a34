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

from flights.demo.parts import Stuck

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
        self.wanted = kills
        self.killed: list[str] = []
        """The parts that were killed and came back, in order."""
        self._share = 0.0
        self._over = False
        self._moved = asyncio.Event()

    def reached(self, share: float) -> None:
        """The month is so far, 0 to 1."""
        self._share = share
        self._moved.set()

    @asynccontextmanager
    async def at_work(self, tell: Callable[[str], None]) -> AsyncIterator[None]:
        """Kills while the block runs, each when it is due and the one before is back.

        Raises Stuck after the block when a part did not come back: the month then had fewer kills than it tells.
        """
        task = asyncio.create_task(self._kill_all(tell))
        try:
            yield
            self._over = True
            self._moved.set()
            await task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _kill_all(self, tell: Callable[[str], None]) -> None:
        for share, part in self._due:
            while self._share < share and not self._over:
                self._moved.clear()
                await self._moved.wait()
            if self._over:
                return
            pid = await running(part)
            os.kill(pid, signal.SIGKILL)
            tell(f"[magenta]KILL[/] {part}, process {pid}")
            await running(part, but=pid)
            self.killed.append(part)


async def running(part: str, *, but: int | None = None) -> int:
    """The process of the part, once it is ready and another than `but`. Raises Stuck when it takes too long."""
    try:
        async with asyncio.timeout(BACK_WITHIN_S):
            while (now := status(part))["pid"] in (but, None) or now["state"] != "ready":  # noqa: ASYNC110  # other processes
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError as late:
        raise Stuck(f"{part} was not ready within {BACK_WITHIN_S:g} s: see `driftloop status` and its log") from late
    return int(str(now["pid"]))


def status(part: str) -> dict[str, object]:
    """What the supervisor last wrote of the part."""
    record = json.loads((Path(os.environ["DRIFTLOOP_HOME"]) / "stack.json").read_text())
    return dict(record["parts"][part])
