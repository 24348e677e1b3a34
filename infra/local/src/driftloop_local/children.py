"""How a child process is started so that it never outlives its parent, and how it is ended."""

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil

MAX_LOG_BYTES: Final = 10 * 1024 * 1024
PR_SET_PDEATHSIG: Final = 1
# Two clocks read the start time of one process; they differ by rounding only.
SAME_START_S: Final = 0.05

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class RunAs:
    """The user that a child becomes; only root may say so."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Identity:
    """A process beyond doubt: pids are given anew, a pid with its start time is not."""

    pid: int
    started: float


def dies_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """To be run between fork and exec: the child gets the signal when the thread that started it ends (Linux).

    Elsewhere nothing is promised; the next start finds what was left by its pid and start time.
    """
    parent = os.getpid()

    def between_fork_and_exec() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return between_fork_and_exec


def open_log(path: Path) -> IO[bytes]:
    """Opened for appending, bounded first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bound_log(path)
    return path.open("ab")


def bound_log(path: Path) -> None:
    """A log that has grown beyond MAX_LOG_BYTES is set aside as `.1` and begins anew.

    By copying, since a child may be writing it: it appends, so it goes on at the new beginning. What it writes between
    the two steps is lost.
    """
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)


async def start_child(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    folder: Path,
    run_as: RunAs | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> Process:
    """A child in a process group of its own, its output in the log. Raises OSError when it cannot be started.

    Call it from the main thread only: the death of the *thread* that started a child ends the child.
    """
    with open_log(log) as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=folder,
            process_group=0,
            user=None if run_as is None else run_as.uid,
            group=None if run_as is None else run_as.gid,
            extra_groups=None if run_as is None else [],
            preexec_fn=dies_with_parent(death_signal),
        )


async def run_to_its_end(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    folder: Path,
    within_s: float,
    run_as: RunAs | None = None,
) -> int | None:
    """The exit code, or None when it did not end in time and was killed."""
    child = await start_child(command, log, environment, folder, run_as)
    try:
        return await asyncio.wait_for(child.wait(), within_s)
    except TimeoutError:
        return None
    finally:
        if child.returncode is None:
            kill_group(child.pid)
            await child.wait()


async def end_child(child: Process, stop_signal: signal.Signals, within_s: float) -> None:
    """Afterwards the child and its group are gone: asked first, killed when it does not go in time."""
    if child.returncode is None:
        child.send_signal(stop_signal)
        try:
            await asyncio.wait_for(child.wait(), within_s)
        except TimeoutError:
            kill_group(child.pid)
            await child.wait()
    kill_group(child.pid)


def kill_group(pid: int) -> None:
    """What the child itself started and left behind in its group is gone too."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def identity_of(pid: int) -> Identity | None:
    """None when there is no such process any more."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, process.create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(identity: Identity) -> bool:
    now = identity_of(identity.pid)
    return now is not None and abs(now.started - identity.started) < SAME_START_S


def end_leftovers(leftovers: Sequence[Identity], within_s: float) -> None:
    """Processes of an earlier supervisor that are still there are ended: asked first, then killed."""
    for identity in leftovers:
        if is_alive(identity):
            # SIGINT is Postgres' word for "do not wait for clients"; the broker and the services go on it as well.
            os.kill(identity.pid, signal.SIGINT)
    deadline = time.monotonic() + within_s
    while any(map(is_alive, leftovers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for identity in leftovers:
        if is_alive(identity):
            kill_group(identity.pid)
            os.kill(identity.pid, signal.SIGKILL)
