"""What work costs: CPU of processes, and the table that sets rows of one run side by side."""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psutil

NAN: Final = float("nan")
# Idle is what uses less than this share of a core in several looks after each other.
IDLE_SHARE: Final = 0.04
LOOK_S: Final = 0.05
LOOKS: Final = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int
    events: int
    """JSON predictions a round, and as many outcomes."""
    packed: int
    """Packed records of 256 a round, of each kind."""
    requests: int
    connections: tuple[int, ...]


FULL: Final = Scale(rounds=3, events=12_000, packed=100, requests=1_500, connections=(16, 8))
# Enough that everything runs once, and that a path that became several times slower is seen.
SMALL: Final = Scale(rounds=1, events=3_000, packed=20, requests=300, connections=(16,))


def scale() -> Scale:
    """`DRIFTLOOP_BENCH=full` measures; anything else only tries everything out."""
    return FULL if os.environ.get("DRIFTLOOP_BENCH") == "full" else SMALL


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads."""
    if sys.platform == "linux":
        # The process' own clock counts nanoseconds, /proc/<pid>/stat hundredths of a second. See clock_getcpuclockid(3).
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def cpu_of_family_s(pid: int, without: Collection[int] = ()) -> float:
    """User and system time of a process and its descendants, those that have ended included."""
    parent = psutil.Process(pid)
    ended = parent.cpu_times()
    total = cpu_s(pid) + ended.children_user + ended.children_system
    for child in parent.children(recursive=True):
        try:
            total += 0.0 if child.pid in without else cpu_s(child.pid)
        except (OSError, psutil.NoSuchProcess):
            continue
    return float(total)


def settle(pid: int, within_s: float = 10.0) -> None:
    """Returns when the process is idle: a server imports and warms up for a while after it first answers."""
    deadline, quiet, before = time.monotonic() + within_s, 0, cpu_s(pid)
    while quiet < LOOKS and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        now = cpu_s(pid)
        quiet = quiet + 1 if now - before < LOOK_S * IDLE_SHARE else 0
        before = now


@contextmanager
def small_heap() -> Iterator[None]:
    """What this process has heaped up until now is no matter to the collector inside: it would walk it for every row."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@dataclass(frozen=True, slots=True)
class Cell:
    """One row's figures in one round."""

    cpu_us: float
    db_us: float = NAN
    p50_ms: float = NAN
    p99_ms: float = NAN


@dataclass
class Table:
    """Rows that were measured in one run. `ratio` compares with the row `ours`, `x floor` with the row `floor`."""

    title: str
    ours: str
    floor: str
    rows: dict[str, list[Cell]] = field(default_factory=dict)

    def add(self, row: str, cell: Cell) -> None:
        self.rows.setdefault(row, []).append(cell)

    def cpu_us(self, row: str) -> float:
        """The median of the rounds."""
        return self._middle(row, "cpu_us")

    def ratio(self, row: str, other: str) -> float:
        """How many times the CPU of the other."""
        return self.cpu_us(row) / self.cpu_us(other)

    def show(self) -> None:
        """On the screen, a blank line above."""
        rounds = max(len(cells) for cells in self.rows.values())
        load = os.getloadavg()[0]
        print(f"\n{self.title} · median of {rounds} round{'s' * (rounds > 1)} · load average {load:.1f}")
        heads = ("cpu us", "db us", "ratio", "x floor", "p50 ms", "p99 ms")
        print(f"{'row':<44}" + "".join(f"{head:>9}" for head in heads))
        for row in self.rows:
            figures = (
                self.cpu_us(row), self._middle(row, "db_us"), self.ratio(row, self.ours), self.ratio(row, self.floor),
                self._middle(row, "p50_ms"), self._middle(row, "p99_ms"),
            )  # fmt: skip
            print(f"{row:<44}" + "".join(_figure(figure) for figure in figures))

    def _middle(self, row: str, name: str) -> float:
        return statistics.median(getattr(cell, name) for cell in self.rows[row])


def _figure(value: float) -> str:
    if value != value:
        return f"{'-':>9}"
    return f"{value:>9.{2 if value < 100 else 0}f}"
