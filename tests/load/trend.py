"""Whether something grows: samples of processes, and the slope through them that a few odd samples do not move."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil

MIB: Final = float(2**20)
TEN_MINUTES_S: Final = 600.0
# Connections, threads and tasks come and go with each request: of so many samples in a row the lowest is what stays.
BREATH: Final = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process held at one moment (seconds since the beginning)."""

    t: float
    part: str
    rss: int
    fds: int
    threads: int
    tasks: int
    """Of its event loop; 0 where nobody says."""


@dataclass(frozen=True, slots=True)
class Trend:
    """One part's growth. The slope is Theil-Sen's: the median of the slopes between every two samples."""

    rss_mib: float
    """In the middle."""
    rss_mib_per_10min: float
    rss_grown_mib: float
    fds: int
    fds_grown: float
    threads_grown: float
    tasks_grown: float
    """Grown: the slope times the time from the first sample to the last."""


class Samples:
    """Written to a file as they are taken: a run that is cut off leaves what it saw."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._begun = time.monotonic()
        self._all: list[Sample] = []

    def take(self, pids: Mapping[str, int], tasks: Callable[[str], int]) -> None:
        """One of each part."""
        taken = [_sample(time.monotonic() - self._begun, part, pid, tasks(part)) for part, pid in pids.items()]
        self._all += taken
        with self.path.open("a") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in taken)

    def trends(self, since_s: float) -> dict[str, Trend]:
        """Of each part, from the samples since then."""
        parts = sorted({one.part for one in self._all})
        return {part: trend([one for one in self._all if one.part == part and one.t >= since_s]) for part in parts}


def trend(samples: Sequence[Sample]) -> Trend:
    """Of the samples of one part."""
    times = [one.t for one in samples]
    span_s = max(times) - min(times)
    rss = slope(times, [one.rss / MIB for one in samples])
    low = [samples[at : at + BREATH] for at in range(0, len(samples), BREATH)]
    fds, threads, tasks = (
        slope([ones[0].t for ones in low], [min(getattr(one, what) for one in ones) for ones in low]) * span_s
        for what in ("fds", "threads", "tasks")
    )
    return Trend(
        round(float(np.median([one.rss for one in samples])) / MIB, 1), round(rss * TEN_MINUTES_S, 2),
        round(rss * span_s, 2), int(np.median([one.fds for one in samples])), round(fds, 2), round(threads, 2),
        round(tasks, 2),
    )  # fmt: skip


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """A second, after Theil and Sen. Raises ValueError where there are no two moments."""
    t, value = np.asarray(times, float), np.asarray(values, float)
    earlier, later = np.triu_indices(len(t), 1)
    apart = t[later] - t[earlier]
    if not (apart > 0).any():
        raise ValueError("a slope needs samples of two moments")
    rises = (value[later] - value[earlier])[apart > 0] / apart[apart > 0]
    return float(np.median(rises))


def _sample(t: float, part: str, pid: int, tasks: int) -> Sample:
    process = psutil.Process(pid)
    with process.oneshot():
        rss, threads = process.memory_info().rss, process.num_threads()
    return Sample(round(t, 1), part, rss, process.num_fds(), threads, tasks)
