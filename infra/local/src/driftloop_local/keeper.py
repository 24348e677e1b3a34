"""Keeps one part alive: starts it, asks it whether it is ready, starts it again when it dies."""

import asyncio
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driftloop_local.backoff import Restarts
from driftloop_local.children import RunAs, bound_log, end_child, identity_of, start_child
from driftloop_local.errors import StackRefused
from driftloop_local.home import Home
from driftloop_local.record import Board, State

LOOK_EVERY_S: Final = 0.1
ASK_AGAIN_AFTER_S: Final = 0.2
ASK_A_READY_PART_EVERY_S: Final = 3.0

Probe = Callable[[], Awaitable[str | None]]
"""What is missing for the part to be ready; None when it is."""


async def nothing_to_prepare() -> None:
    return None


@dataclass(frozen=True)
class Part:
    """A child process and how to deal with it."""

    name: str
    command: Callable[[], tuple[str, ...]]
    environment: Mapping[str, str]
    folder: Path
    why_not_ready: Probe
    address: str | None = None
    prepare: Callable[[], Awaitable[None]] = nothing_to_prepare
    """Done before every start."""
    run_as: RunAs | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = 10.0


class Keeper:
    """One part, kept alive until `stop`."""

    def __init__(self, part: Part, home: Home, board: Board) -> None:
        self.part = part
        self.was_ready = asyncio.Event()
        self._log = home.log(part.name)
        self._hold = home.hold(part.name)
        self._board = board
        self._stopping = asyncio.Event()
        self._child: Process | None = None
        self._ready_since: float | None = None

    async def keep(self) -> None:
        """Returns once it was stopped; a part that dies before that is started again, ever later if it does not get well."""
        restarts = Restarts()
        while not self._stopping.is_set():
            if self._hold.exists():
                self._board.tell(self.part.name, "held", pid=None, pid_started=None, reason="stopped by request")
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            reason = await self._live()
            if not self._stopping.is_set() and not self._hold.exists():
                restarts = restarts.died(self._ready_for_s())
                await self._pause(restarts, reason)
        self._board.tell(self.part.name, "stopped", pid=None, pid_started=None)

    async def stop(self) -> None:
        """Afterwards the part is gone, within its deadline and a moment."""
        self._stopping.set()
        if self._child is not None:
            await end_child(self._child, self.part.stop_signal, self.part.stop_within_s)

    async def _live(self) -> str:
        """One life of the part, from its start to its end. Returns why it ended."""
        self._ready_since = None
        self._board.tell(self.part.name, "starting", address=self.part.address, pid=None, pid_started=None)
        try:
            await self.part.prepare()
            child = await self._start()
        except (StackRefused, OSError) as error:
            return str(error)
        self._child = child
        identity = identity_of(child.pid)
        self._board.tell(self.part.name, "starting", pid=child.pid, pid_started=identity and identity.started)
        ended, watch = asyncio.create_task(child.wait()), asyncio.create_task(self._watch(child))
        try:
            await asyncio.wait({ended, watch}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()  # raises what went wrong in it, instead of a part that nobody watches any more
            code = await ended
        finally:
            watch.cancel()
            await asyncio.wait([watch])
            await end_child(child, signal.SIGKILL, 1.0)
            await ended
            # Its pid may be somebody else's from now on.
            self._child = None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"

    async def _start(self) -> Process:
        part = self.part
        return await start_child(
            part.command(), self._log, part.environment, part.folder, part.run_as, part.stop_signal
        )

    async def _watch(self, child: Process) -> None:
        """Until the child ends: its state is told as it changes, and it is stopped when that was asked for."""
        ask_again_at = 0.0
        while True:
            if self._hold.exists() or self._stopping.is_set():
                await end_child(child, self.part.stop_signal, self.part.stop_within_s)
                return
            if time.monotonic() >= ask_again_at:
                is_ready = await self._ask()
                ask_again_at = time.monotonic() + (ASK_A_READY_PART_EVERY_S if is_ready else ASK_AGAIN_AFTER_S)
                bound_log(self._log)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _ask(self) -> bool:
        reason = await self.part.why_not_ready()
        if reason is None:
            self._ready_since = self._ready_since or time.monotonic()
            self._board.tell(self.part.name, "ready")
            self.was_ready.set()
            return True
        state: State = "starting" if self._ready_since is None else "not ready"
        self._board.tell(self.part.name, state, reason=reason)
        return False

    def _ready_for_s(self) -> float:
        return 0.0 if self._ready_since is None else time.monotonic() - self._ready_since

    async def _pause(self, restarts: Restarts, reason: str) -> None:
        state: State = "crash loop" if restarts.is_looping else "restarting"
        told = f"{reason}; again in {restarts.delay_s:g} s"
        facts = {"restarts": restarts.total, "pid": None, "pid_started": None, "reason": told}
        self._board.tell(self.part.name, state, **facts)
        try:
            await asyncio.wait_for(self._stopping.wait(), restarts.delay_s)
        except TimeoutError:
            return
