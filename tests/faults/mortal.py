"""A service that ends where a failpoint says, and how long its effects were away."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from typing import Final

import psutil

from driftloop_bus.failpoints import KILLED
from driftloop_kit.testing import ServiceProcess

DIES_WITHIN_S: Final = 30.0


class Mortal(ServiceProcess):
    """One place with many lives; each is armed anew."""

    _armed = ""
    _born_at = 0

    def environment(self) -> dict[str, str]:
        """All of its variables, and where this life ends."""
        return super().environment() | {"DRIFTLOOP_FAILPOINTS": self._armed}

    def live(self, failpoints: str = "") -> None:
        """Another process at the same place. It runs; whether it gets as far as answering is another matter."""
        self._armed = failpoints
        self._born_at = self.log.stat().st_size if self.log.exists() else 0
        self.start()

    def hits(self, name: str) -> int:
        """How often this life has come to the failpoint, of those that are armed."""
        with self.log.open() as said:
            said.seek(self._born_at)
            return sum(line == f"failpoint {name}\n" for line in said)

    def has_acted(self, failpoints: str) -> bool:
        """Whether every one of `name=action@hit; ...` has acted in this life."""
        found = [one.strip().partition("=") for one in failpoints.split(";")]
        return all(self.hits(name) >= int(action.partition("@")[2]) for name, _, action in found)

    def until_it_stops(self) -> None:
        """A failpoint has stopped it."""
        process = psutil.Process(self.process.pid)
        self.until(lambda: process.status() == psutil.STATUS_STOPPED, "stopped")

    def dead_at(self, name: str, hit: int) -> float | None:
        """When it died (`time.time`) at this hit of the failpoint; None, and dead, when it did not come to that."""
        try:
            code = self.process.wait(DIES_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        died = time.time()
        return died if code == KILLED and self.hits(name) == hit else None


def recoveries_s(deaths: Sequence[float], effects: Sequence[float]) -> list[float]:
    """From each death to the first effect after it, for those that are followed by one before the next death. Both in order."""
    found, effect = [], iter(effects)
    moment = next(effect, None)
    for death, next_death in zip(deaths, [*deaths[1:], float("inf")], strict=True):
        while moment is not None and moment <= death:
            moment = next(effect, None)
        if moment is not None and moment < next_death:
            found.append(moment - death)
    return found
