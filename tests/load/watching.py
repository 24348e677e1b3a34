"""What a process has in memory, and what it says of itself on its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psutil
from tests.faults.meanwhile import Meanwhile

from driftloop_kit.testing import ServiceProcess

LOOK_EACH_S: Final = 0.2
MIB: Final = 2**20


@dataclass
class Peak(Meanwhile):
    """The most that a process has in memory while the block runs."""

    pid: int
    each_s: float = LOOK_EACH_S
    most_mib: float = 0.0

    def works(self) -> Iterable[Callable[[], None]]:
        """A look after the other, the first at once."""
        return [self._look]

    def _look(self) -> None:
        process, over = psutil.Process(self.pid), False
        while not over:
            self.most_mib = max(self.most_mib, process.memory_info().rss / MIB)
            over = self.over.wait(self.each_s)


@dataclass
class Memory:
    """The most that processes had in memory while the blocks ran, in MiB."""

    most: float = 0.0

    @contextmanager
    def of(self, service: ServiceProcess) -> Iterator[None]:
        """Looks all the time."""
        with Peak(service.process.pid) as peak:
            yield
        self.most = max(self.most, peak.most_mib)


def metrics(service: ServiceProcess, *names: str) -> list[float]:
    """The metrics of these names, labels included, at one moment; 0 where there is none."""
    text = service.get("/metrics").text
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return [float(found.get(name, "0")) for name in names]
