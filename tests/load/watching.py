"""What a process has in memory, and what it says of itself on its metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psutil

from driftloop_kit.testing import ServiceProcess

LOOK_EACH_S: Final = 0.2
MIB: Final = 2**20


@dataclass
class Memory:
    """The most that processes had in memory while the block ran, in MiB."""

    most: float = 0.0

    @contextmanager
    def of(self, service: ServiceProcess) -> Iterator[None]:
        """Looks all the time."""
        ended = threading.Event()
        looking = threading.Thread(target=self._look, args=(psutil.Process(service.process.pid), ended))
        looking.start()
        try:
            yield
        finally:
            ended.set()
            looking.join()

    def _look(self, process: psutil.Process, ended: threading.Event) -> None:
        while not ended.wait(LOOK_EACH_S):
            self.most = max(self.most, process.memory_info().rss / MIB)


def metrics(service: ServiceProcess, *names: str) -> list[float]:
    """The metrics of these names, labels included, at one moment; 0 where there is none."""
    text = service.get("/metrics").text
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return [float(found.get(name, "0")) for name in names]
