"""The tasks of a process: when one fails the process stops, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

from driftloop_kit.telemetry import Telemetry


class Tasks:
    """By name. Background tasks are cancelled at the end, the others are asked first."""

    def __init__(self, stopping: asyncio.Event, telemetry: Telemetry) -> None:
        self._stopping = stopping
        self._telemetry = telemetry
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The work runs; should it fail, everything stops."""
        task = self._tasks[name] = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def start_background(self, name: str, work: Awaitable[None]) -> None:
        """As `start`, for work that nobody asks to stop."""
        self._background.add(self.start(f"background {len(self._background)}: {name}", _run(work)))

    async def settle(self, names: set[str], within_s: float) -> None:
        """These have ended, by themselves or cancelled after a while."""
        await _end([self._tasks[name] for name in names if name in self._tasks], within_s)

    async def cancel_background(self, within_s: float) -> None:
        """Background work has ended; what resists that long is left behind."""
        for task in self._background:
            task.cancel()
        await _wait(self._background, within_s)

    async def cancel_all(self, within_s: float) -> None:
        """Everything has ended; what resists that long is left behind."""
        for task in self._tasks.values():
            task.cancel()
        await _wait(self._tasks.values(), within_s)

    def cancel(self, name: str) -> None:
        """Its work is broken off."""
        self._tasks[name].cancel()

    def raise_failure(self) -> None:
        """Raises what ended the first task that failed."""
        if self._failure is not None:
            raise self._failure

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._telemetry.log.error("task_failed", task=task.get_name(), exc_info=error)
            self._failure = self._failure or error
            self._stopping.set()


async def _run(work: Awaitable[None]) -> None:
    await work


async def _end(tasks: list[asyncio.Task[None]], within_s: float) -> None:
    await _wait(tasks, within_s)
    for task in tasks:
        task.cancel()
    # A cancelled worker still gives its job back.
    await _wait(tasks, 1.0)


async def _wait(tasks: Any, within_s: float) -> None:
    waiting = [task for task in tasks if not task.done()]
    if waiting:
        await asyncio.wait(waiting, timeout=within_s)
