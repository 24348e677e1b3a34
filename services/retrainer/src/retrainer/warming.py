"""A training process is warm when rows come: importing what it needs takes as long as gathering them does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from driftloop_bus.errors import TryAgain
from retrainer.executor import Executor

LOOK_S: Final = 0.5
# A request whose rows never come holds memory no longer than this.
KEPT_S: Final = 120.0


async def keep_warm(executor: Executor, gathering: Callable[[], Awaitable[int]]) -> None:
    """As long as requests wait for their rows, a process waits for their training. Nothing is left when this is cancelled."""
    began = asked = 0.0
    try:
        while True:
            now = monotonic()
            if not await some(gathering):
                began = 0.0
            elif now - (began := began or now) < KEPT_S:
                asked = now
                await executor.warm()
            if now - asked > KEPT_S:
                await executor.cool()
            await asyncio.sleep(LOOK_S)
    finally:
        await executor.cool()


async def some(gathering: Callable[[], Awaitable[int]]) -> bool:
    """Whether any request waits for its rows; while the database is away nothing will begin."""
    try:
        return await gathering() > 0
    except TryAgain:
        return False
