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
# Idle is what uses less than this share of a core in several looks after each other: services look around all the time.
IDLE_SHARE: Final = 0.2
LOOK_S: Final = 0.05
LOOKS: Final = 4
HAS_CLOCKS: Final[bool] = sys.platform == "linux"


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


FULL: Final = Scale(rounds=3, events=8_000, packed=60, requests=1_500, connections=(16, 8))
# Enough that everything runs once, and that a path that became several times slower is seen.
SMALL: Final = Scale(rounds=1, events=2_000, packed=16, requests=200, connections=(16,))


def scale() -> Scale:
    """`DRIFTLOOP_BENCH=full` measures; anything else only tries everything out."""
    return FULL if os.environ.get("DRIFTLOOP_BENCH") == "full" else SMALL


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads."""
    if HAS_CLOCKS:
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
    """Rows that were measured in one run.

    `ratio` is a row's CPU over that of the row `ours`, `with db` the same with the database's, `x floor` its CPU over that of
    the row `floor`, the least that anybody can pay.
    """

    title: str
    ours: str
    floor: str = ""
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
        figures = {row: self._figures(row) for row in self.rows}
        heads = [head for head in next(iter(figures.values())) if any(f[head] == f[head] for f in figures.values())]
        print(f"{'row':<46}" + "".join(f"{head:>10}" for head in heads))
        for row, found in figures.items():
            print(f"{row:<46}" + "".join(_shown(found[head]) for head in heads))

    def _figures(self, row: str) -> dict[str, float]:
        found = {
            "cpu us": self.cpu_us(row),
            "db us": self._middle(row, "db_us"),
            "ratio": self.ratio(row, self.ours),
            "x floor": self.ratio(row, self.floor) if self.floor else NAN,
        }
        if any(cell.db_us == cell.db_us for cells in self.rows.values() for cell in cells):
            found["with db"] = self._whole(row) / self._whole(self.ours)
        return found | {f"{name} ms": self._middle(row, f"{name}_ms") for name in ("p50", "p99")}

    def _whole(self, row: str) -> float:
        database = self._middle(row, "db_us")
        return self.cpu_us(row) + (database if database == database else 0.0)

    def _middle(self, row: str, name: str) -> float:
        return float(statistics.median(getattr(cell, name) for cell in self.rows[row]))


def _shown(value: float) -> str:
    if value != value:
        return f"{'-':>10}"
    return f"{value:>10.{2 if value < 100 else 0}f}"
