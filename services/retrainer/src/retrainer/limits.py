"""What this process may take, set by itself before any code of a user runs in it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

from retrainer.domain import MAX_ARTIFACT_BYTES, Limits

MIB: Final = 1024 * 1024
# So that a training that ran out of memory can still say so.
LAST_WORDS_MIB: Final = 64
_PR_SET_PDEATHSIG: Final = 1


def hold(limits: Limits) -> None:
    """Memory, time, and the size of what is written are bounded from now on; no core is dumped."""
    memory = (_taken_kib() // 1024 + limits.memory_mb) * MIB
    # Private writable memory: what libraries only map, or reserve without touching, does not count.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory + LAST_WORDS_MIB * MIB))
    # The executor ends a training at its timeout by the wall clock; this is for the case that nobody is left to do so.
    cpu_s = (int(limits.timeout_s) + 1) * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MAX_ARTIFACT_BYTES, 2 * MAX_ARTIFACT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def loosen() -> None:
    """There is a little memory left for last words."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def die_with_parent(parent: int) -> None:
    """When the executor's process is gone, however it went, this one is killed (Linux; elsewhere the CPU limit ends it)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before it could be watched
        os.kill(os.getpid(), signal.SIGKILL)


def _taken_kib() -> int:
    """Private writable memory of this process so far; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmData"].split()[0])
