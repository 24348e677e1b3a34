"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """The condition holds now. Raises TimeoutError when it does not come true in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # any condition, not one that somebody signals
            await asyncio.sleep(0.005)


async def raised(kind: type[Exception], work: Awaitable[object]) -> None:
    """The work raised this kind of error, and no other. Raises AssertionError when it went well."""
    try:
        await work
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
