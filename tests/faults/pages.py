"""What a service says of itself all along: `/live` and `/ready`, asked again and again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

import httpx
from tests.faults.meanwhile import Meanwhile

EACH_S: Final = 0.05
TASKS: Final = re.compile(r"^driftloop_tasks (\S+)$", re.MULTILINE)
# Longer than any answer may take: who answers later is told from who does not at all.
GIVES_UP_AFTER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Said:
    """One look at a page. status: 0 when nobody answered."""

    at: float
    """When it was answered, in seconds of `time.time`."""
    took_s: float
    status: int
    page: Any = None


@dataclass
class Pages(Meanwhile):
    """Looks until the block ends."""

    ends_within_s: ClassVar[float] = 2 * GIVES_UP_AFTER_S
    url: str
    each_s: float = EACH_S
    live: list[Said] = field(default_factory=list)
    ready: list[Said] = field(default_factory=list)

    def works(self) -> Iterable[Callable[[], None]]:
        """A look after the other at each of both."""
        return [partial(self._look, path, found) for path, found in (("/live", self.live), ("/ready", self.ready))]

    def _look(self, path: str, found: list[Said]) -> None:
        with httpx.Client(base_url=self.url, timeout=GIVES_UP_AFTER_S, trust_env=False) as door:
            while not self.over.wait(self.each_s):
                found.append(_asked(door, path))

    def not_ready_after_s(self, since: float) -> float:
        """How long after that moment it first said that it was not ready; infinite when it never did."""
        return next(
            (said.at - since for said in list(self.ready) if said.at >= since and said.status == 503), float("inf")
        )

    def named_after_s(self, parts: Collection[str], since: float) -> float:
        """How long after that moment it first said that one of these is not as it should be; infinite when it never did."""
        looks = (said for said in list(self.ready) if said.at >= since and said.page)
        return next((said.at - since for said in looks if _named(said.page) & {*parts}), float("inf"))

    def reasons(self, since: float, until: float) -> set[str]:
        """The parts that it named as not as they should be, in that time."""
        pages = [said.page for said in list(self.ready) if since <= said.at <= until and said.page]
        return {part for page in pages for part in _named(page)}

    def unanswered(self) -> int:
        """How often `/live` did not say 200."""
        return sum(said.status != 200 for said in self.live)


def tasks(url: str) -> int:
    """How many asyncio tasks the service has."""
    found = TASKS.search(httpx.get(f"{url}/metrics", timeout=GIVES_UP_AFTER_S, trust_env=False).text)
    assert found is not None
    return int(float(found[1]))


def _named(page: Any) -> set[str]:
    return {*page["reasons"], *page.get("degraded", ())}


def _asked(door: httpx.Client, path: str) -> Said:
    began = time.monotonic()
    try:
        answer = door.get(path)
    except httpx.TransportError:
        return Said(time.time(), time.monotonic() - began, 0)
    return Said(time.time(), time.monotonic() - began, answer.status_code, answer.json())


def slowest_s(looks: Sequence[Said]) -> float:
    """The longest that anybody waited for a page."""
    return max((said.took_s for said in looks), default=0.0)
