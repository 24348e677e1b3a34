"""What is seen of a service from outside: whether it lives, what memory it takes, how soon it answers an ordinary client."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median, quantiles
from typing import Any, Final

import psutil
from tests.faults.meanwhile import Meanwhile

MIB: Final = 1024.0**2
LIVES_WITHIN_S: Final = 5.0
LOOK_AT_LIFE_S: Final = 0.5
LOOK_AT_MEMORY_S: Final = 0.05
ASKS_EACH_S: Final = 0.05
IN_A_ROW: Final = 10
GIVES_UP_AFTER_S: Final = 60.0


@dataclass
class Watch(Meanwhile):
    """Looks while the block runs: by a new connection each time, as whatever decides over a restart does."""

    port: int
    pid: int
    dead: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    before_mib: float = 0.0
    most_mib: float = 0.0

    def works(self) -> Iterable[Callable[[], None]]:
        """Two ways to look, each again and again."""
        self.before_mib = self.most_mib = self._mib()
        looks = ((self._look_at_life, LOOK_AT_LIFE_S), (self._look_at_memory, LOOK_AT_MEMORY_S))
        return [partial(self._again, *look) for look in looks]

    @property
    def grown_mib(self) -> float:
        """At its most, over what it was at the beginning."""
        return round(self.most_mib - self.before_mib, 1)

    def _again(self, look: Callable[[], None], each_s: float) -> None:
        while not self.over.wait(each_s):
            look()

    def _look_at_life(self) -> None:
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIVES_WITHIN_S)
        try:
            connection.request("GET", "/live")
            if (status := connection.getresponse().status) != http.client.OK:
                self.dead.append(str(status))
        except (OSError, http.client.HTTPException) as error:
            self.dead.append(repr(error))
        finally:
            connection.close()
        self.slowest_s = round(max(self.slowest_s, time.perf_counter() - began), 2)

    def _look_at_memory(self) -> None:
        self.most_mib = max(self.most_mib, self._mib())

    def _mib(self) -> float:
        return float(psutil.Process(self.pid).memory_info().rss / MIB)


class Ordinary:
    """A client that asks twenty times a second, over one connection."""

    def __init__(self, port: int, path: str, bodies: Sequence[dict[str, Any]]) -> None:
        self._port, self._path = port, path
        self._bodies = [json.dumps(body).encode() for body in bodies]
        self._asked = 0
        self._connection = self._new()
        self.usual_s = 0.0

    def learn(self, seconds: float) -> None:
        """What is usual: of twenty answers the slowest but one. Raises AssertionError when it is refused."""
        deadline, took_s = time.perf_counter() + seconds, list[float]()
        while time.perf_counter() < deadline or len(took_s) < IN_A_ROW:
            took_s.append(self._ask())
        assert max(took_s) < float("inf"), "an ordinary client is refused without any load"
        self.usual_s = quantiles(took_s, n=20)[-1]

    def recovered_s(self) -> float:
        """From now until the first of ten answers of which the middle one is as usual, and none a refusal."""
        began, moments, took_s = time.perf_counter(), list[float](), list[float]()
        while (now := time.perf_counter() - began) < GIVES_UP_AFTER_S:
            moments.append(now)
            took_s.append(self._ask())
            last = took_s[-IN_A_ROW:]
            if len(last) == IN_A_ROW and median(last) <= self.usual_s and max(last) < float("inf"):
                return round(moments[-IN_A_ROW], 2)
        return GIVES_UP_AFTER_S

    def _ask(self) -> float:
        time.sleep(ASKS_EACH_S)
        self._asked += 1
        began = time.perf_counter()
        try:
            self._connection.request(
                "POST", self._path, self._bodies[self._asked % len(self._bodies)], {"content-type": "application/json"}
            )
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = self._new()
            return float("inf")
        return time.perf_counter() - began if answer.status == http.client.OK else float("inf")

    def _new(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIVES_WITHIN_S)
