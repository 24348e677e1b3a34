"""Postgres as what it is: a parent and a process for each connection, killed or stopped together."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import asyncpg
import psutil

LOOK_S: Final = 0.02
BACK_WITHIN_S: Final = 60.0


def family(pid: int) -> list[psutil.Process]:
    """The parent first: it starts no further child once it is dead or stopped."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def kill(pid: int, *, children: bool) -> float:
    """SIGKILL to the parent alone (its children notice and leave) or to all at once; when, in seconds of `time.time`."""
    doomed = family(pid) if children else [psutil.Process(pid)]
    at = time.time()
    for process in doomed:
        _to(process, "kill")
    return at


@dataclass(frozen=True, slots=True)
class Stopped:
    """Processes that stand still since then (seconds of `time.time`)."""

    processes: list[psutil.Process]
    at: float


def stop(pid: int) -> Stopped:
    """SIGSTOP to all: it is there, the kernel takes connections for it, and it answers nothing."""
    at, stopped = time.time(), list[psutil.Process]()
    # What the parent started before it stood still is found by a second look.
    for _ in range(2):
        fresh = [process for process in family(pid) if process not in stopped]
        for process in fresh:
            _to(process, "suspend")
        stopped += fresh
    return Stopped(stopped, at)


def go_on(stopped: list[psutil.Process]) -> float:
    """SIGCONT to all of them; when, in seconds of `time.time`."""
    at = time.time()
    for process in stopped:
        _to(process, "resume")
    return at


def _to(process: psutil.Process, what: str) -> None:
    try:
        getattr(process, what)()
    except psutil.NoSuchProcess:
        # A child that ended by itself meanwhile: what was wanted of it holds.
        return


async def until_answers(url: str, within_s: float = BACK_WITHIN_S) -> float:
    """When it answered a query for the first time from now on, in seconds of `time.time`. Raises AssertionError."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if await _answers(url):
            return time.time()
        await asyncio.sleep(LOOK_S)
    raise AssertionError(f"Postgres did not answer within {within_s:g} s")


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=2)
        try:
            return bool(await connection.fetchval("SELECT 1", timeout=2) == 1)
        finally:
            connection.terminate()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
