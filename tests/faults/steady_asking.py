"""Clients that ask a serving process for predictions at a steady rate, and keep account of what they were told and how soon."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import numpy as np
from tests.faults.account import Account, Refused, Unanswered
from tests.faults.meanwhile import Meanwhile

CLIENTS: Final = 8
ANSWER_WITHIN_S: Final = 10.0


class SteadyAsking(Meanwhile):
    """Asks so often a second while the block runs. The ids are `client:seq`."""

    ends_within_s = 30.0

    def __init__(
        self,
        port: int,
        model: str,
        features: dict[str, object],
        account: Account,
        per_second: float,
        heard: Callable[[str, bytes], None] = lambda what, said: None,
        clients: int = CLIENTS,
    ) -> None:
        """heard: is given each id and what was answered with 200, in the thread of its client, before that asks again."""
        self._port, self._path, self._features, self._account = port, f"/predict/{model}", features, account
        self._heard = heard
        self._clients, self._each_s = clients, clients / per_second
        self._took: list[tuple[float, float]] = []

    def works(self) -> Iterable[Callable[[], None]]:
        """Every client."""
        return [partial(self._ask_for_ever, number) for number in range(self._clients)]

    def p99_ms(self, since: float, until: float) -> float:
        """Of what was asked in this time."""
        return float(np.percentile(self._asked(since, until), 99) * 1e3)

    def per_second(self, since: float, until: float) -> float:
        """How often was asked indeed."""
        return len(self._asked(since, until)) / (until - since)

    def _asked(self, since: float, until: float) -> list[float]:
        return [took for t, took in self._took.copy() if since <= t <= until]

    def _ask_for_ever(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_WITHIN_S)
        seq, due = 0, time.monotonic() + self._each_s * number / self._clients
        while not self.over.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            with self._account.attempt(f"p{number}", f"p{number}", seq, f"p{number}:{seq}"):
                self._ask(connection, f"p{number}:{seq}")
            # Who is behind does not catch up in a burst.
            seq, due = seq + 1, max(due, time.monotonic() - self._each_s) + self._each_s
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, what: str) -> None:
        body = json.dumps({"features": self._features, "prediction_id": what})
        t, began = time.time(), time.perf_counter()
        try:
            connection.request("POST", self._path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unanswered(str(error)) from error
        self._took.append((t, time.perf_counter() - began))
        if answer.status != http.client.OK:
            raise Refused(said.decode())
        self._heard(what, said)
