"""Starting a supervisor, attaching to the one that runs, waiting until all is ready, stopping it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driftloop_local import kafka, postgres
from driftloop_local.children import dies_with_parent, end_leftovers, is_alive, open_log
from driftloop_local.errors import StackRefused
from driftloop_local.home import Home
from driftloop_local.jars import Fetched, ensure_jars, jar_folder, locked
from driftloop_local.record import PartStatus, Record, read_record
from driftloop_local.services import KAFKA, POSTGRES
from driftloop_local.wanted import Wanted, everything, read_wanted, write_wanted

LOOK_EVERY_S: Final = 0.05
SUPERVISOR_STARTS_WITHIN_S: Final = 15.0
LEFTOVERS_WITHIN_S: Final = 5.0
TAIL_LINES: Final = 15
WatchDownloads = Callable[[int], AbstractContextManager[Fetched]]


@dataclass(frozen=True)
class Launched:
    """What `launch` found or made."""

    pid: int
    attached: bool
    """True: a supervisor was running already, and was told what is wanted besides."""
    process: subprocess.Popen[bytes] | None = None
    """The supervisor as a child of this process, when it was started here."""


def launch(home: Home, wanted: Wanted, watch: WatchDownloads, *, dies_with_caller: bool) -> Launched:
    """Afterwards a supervisor runs for this folder and knows what is wanted; parts are not ready yet.

    dies_with_caller: the new supervisor (and so everything) stops when the calling thread ends (Linux).
    Raises StackRefused when something is missing here.
    """
    home.create()
    refuse_what_cannot_start(wanted, watch)
    with locked(home.folder / "launch.lock"):
        running = read_record(home)
        if running.is_running and running.supervisor is not None:
            write_wanted(home, read_wanted(home).joined(wanted))
            return Launched(running.supervisor.pid, attached=True)
        write_wanted(home, wanted)
        process = start_supervisor(home, dies_with_caller)
        return Launched(process.pid, attached=False, process=process)


def refuse_what_cannot_start(wanted: Wanted, watch: WatchDownloads) -> None:
    """What the embedded parts need is here, verified; else StackRefused. Parts with an address in the environment need nothing."""
    if KAFKA in wanted.parts and not os.environ.get("DRIFTLOOP_KAFKA"):
        kafka.java()
        ensure_jars(jar_folder(), watch)
    if POSTGRES in wanted.parts and not os.environ.get("DRIFTLOOP_POSTGRES"):
        postgres.programs()
        postgres.run_as()


def start_supervisor(home: Home, dies_with_caller: bool) -> subprocess.Popen[bytes]:
    """Returns once it has written its record."""
    with open_log(home.log("supervisor")) as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "driftloop_local.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | {"DRIFTLOOP_HOME": str(home.folder)},
            cwd=home.folder,
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGTERM) if dies_with_caller else None,
        )
    deadline = time.monotonic() + SUPERVISOR_STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        supervisor = read_record(home).supervisor
        if supervisor is not None and supervisor.pid == process.pid:
            return process
        time.sleep(LOOK_EVERY_S)
    raise StackRefused(
        f"the supervisor did not start:\n{tail(home.log('supervisor'))}", f"read {home.log('supervisor')}"
    )


def not_ready(record: Record, wanted: Wanted) -> list[PartStatus | str]:
    """The wanted parts (and the jobs before them) that are not up, those not begun yet by name alone."""
    unasked = set(everything()) - set(wanted.parts)
    begun = [status for status in record.parts.values() if status.name not in unasked and not status.is_up]
    known = {*record.parts, *record.missing}
    return [*begun, *(name for name in wanted.parts if name not in known)]


def wait_until_ready(home: Home, wanted: Wanted, within_s: float, tell: Callable[[Record], None]) -> Record:
    """The record in which everything wanted is ready. `tell` sees each new record.

    Raises StackRefused naming what is not ready, its reason and the end of its log, at the deadline or when the
    supervisor is gone.
    """
    deadline, last = time.monotonic() + within_s, Record()
    while True:
        record = read_record(home)
        if record != last:
            tell(record)
            last = record
        lacking = not_ready(record, wanted)
        if not lacking:
            return record
        if not record.is_running:
            raise StackRefused(f"the supervisor is gone:\n{tail(home.log('supervisor'))}", "start it again with `up`")
        if time.monotonic() > deadline:
            raise StackRefused(described(lacking, within_s), "read the logs named above; `doctor` checks this machine")
        time.sleep(LOOK_EVERY_S)


def described(lacking: list[PartStatus | str], within_s: float) -> str:
    lines = [f"not ready after {within_s:g} s:"]
    for part in lacking:
        if isinstance(part, str):
            lines.append(f"{part}: not begun")
        else:
            lines.append(f"{part.name}: {part.state}, {part.reason or 'no reason given'}")
            lines.append(tail(Path(part.log)) if part.log else "")
    return "\n".join(line for line in lines if line)


def tail(log: Path) -> str:
    if not log.exists():
        return f"  ({log} is empty)"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join([f"  end of {log}:", *(f"  | {line}" for line in lines)])


def stop(home: Home, within_s: float) -> bool:
    """Afterwards nothing of this stack runs. False when nothing was running.

    What does not go in time is killed, the supervisor too.
    """
    if not home.record.exists():
        return False
    with locked(home.folder / "launch.lock"):
        return stop_alone(home, within_s)


def stop_alone(home: Home, within_s: float) -> bool:
    record = read_record(home)
    everybody = [status.identity for status in record.parts.values() if status.identity is not None]
    if record.supervisor is not None and record.is_running:
        os.kill(record.supervisor.pid, signal.SIGTERM)
        wait_until_gone(record.supervisor.pid, lambda: record.is_running, within_s)
        everybody.append(record.supervisor)
    left = [identity for identity in everybody if is_alive(identity)]
    end_leftovers(left, LEFTOVERS_WITHIN_S)
    return bool(everybody)


def wait_until_gone(pid: int, is_there: Callable[[], bool], within_s: float) -> None:
    """Also reaps it when it is a child of ours."""
    deadline = time.monotonic() + within_s
    while is_there() and time.monotonic() < deadline:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            # Somebody else's child: whoever that is reaps it.
            pass
        time.sleep(LOOK_EVERY_S)
