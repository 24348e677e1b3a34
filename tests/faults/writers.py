"""Clients at the registry's door, each with changes of its own one after the other; and where those changes must be found."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import asyncpg
import httpx
from tests.faults.account import Account, Line, Refused, Unanswered
from tests.faults.verdict import Effect

from driftloop_bus.codec import decode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.testing import everything
from driftloop_contracts.control_plane import MetricsLogged, RunStarted
from driftloop_contracts.event import AnyEvent

CLIENTS: Final = 8
# Nobody's client waits longer; the bounds of the checks are below it.
GIVES_UP_AFTER_S: Final = 20.0
# A client thinks: eight that don't are a load test.
PAUSE_S: Final = 0.02
METRIC: Final = "loss"
EXPERIMENT: Final = "0"
# What is there: a run by its name, a point by its run's and its step. `seq` is what the client counted.
_ROWS: Final = """
SELECT split_part(name, ':', 1) AS client, split_part(name, ':', 2)::int AS seq FROM run WHERE name LIKE '%:%:run'
UNION ALL
SELECT split_part(run.name, ':', 1), step::int FROM run_metric JOIN run USING (run_id) WHERE key = $1
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client was told, and how long it waited. status: 0 when nobody answered."""

    at: float
    """When, in seconds of `time.time`."""
    took_s: float
    status: int
    words: str = ""


@dataclass
class Writers:
    """So many clients that change something until the block ends. Of their changes every third is a new run, the others points.

    A change has an id that says whose it is and its number; a client never asks twice for the same. 503 leaves open whether
    it happened: a commit that was cut off may have gone through.
    """

    url: str
    account: Account
    count: int = CLIENTS
    names: str = "c"
    """What their names begin with: two groups at one registry need two."""
    answers: list[Answer] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(f"{self.names}{number}",)) for number in range(self.count)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * GIVES_UP_AFTER_S)

    def _write(self, name: str) -> None:
        try:
            with httpx.Client(
                base_url=f"{self.url}/api/2.0/mlflow/", timeout=GIVES_UP_AFTER_S, trust_env=False
            ) as door:
                self._go_on(door, name)
        except BaseException as error:
            self.failures.append(error)
            raise

    def _go_on(self, door: httpx.Client, name: str) -> None:
        run: str | None = None
        seq = 0
        while not self._stop.wait(PAUSE_S):
            with self.account.attempt(name, name, seq, change(name, seq)):
                if run is None or seq % 3 == 0:
                    run = self._new_run(door, name, seq)
                else:
                    point = {"run_id": run, "key": METRIC, "value": seq / 7, "timestamp": 1 + seq, "step": seq}
                    self._ask(door, "runs/log-metric", point)
            seq += 1

    def _new_run(self, door: httpx.Client, name: str, seq: int) -> str:
        asked = {"experiment_id": EXPERIMENT, "run_name": f"{name}:{seq}:run", "start_time": 1 + seq}
        return str(self._ask(door, "runs/create", asked)["run"]["info"]["run_id"])

    def _ask(self, door: httpx.Client, call: str, body: dict[str, Any]) -> Any:
        began = time.monotonic()
        try:
            answer = door.post(call, json=body)
        except httpx.TransportError as error:
            self._heard(began, 0, f"{type(error).__name__}: {error}")
            raise Unanswered(str(error)) from error
        self._heard(began, answer.status_code, "" if answer.is_success else answer.text)
        if answer.is_success:
            return answer.json()
        raise Unanswered(answer.text) if answer.is_server_error else Refused(answer.text)

    def _heard(self, began: float, status: int, words: str) -> None:
        self.answers.append(Answer(time.time(), time.monotonic() - began, status, words))


def change(client: str, seq: int) -> str:
    """The id of a change."""
    return f"{client}-{seq:06d}"


def first_ok_after(lines: Sequence[Line], moment: float) -> float:
    """Seconds from the moment until somebody was told ok; infinite when nobody was."""
    return round(
        min((line.t for line in lines if line.state == "ok" and line.t >= moment), default=float("inf")) - moment, 2
    )


def slowest(answers: Sequence[Answer], *status: int) -> float:
    """The longest that anybody waited for an answer (of these kinds, when some are given), in seconds."""
    return round(max((one.took_s for one in answers if not status or one.status in status), default=0.0), 2)


async def in_rows(owner_url: str) -> list[Effect]:
    """Changes that are in the registry's tables. A table has no order: they come as they were asked for."""
    connection = await asyncpg.connect(owner_url, timeout=10)
    try:
        rows = await connection.fetch(_ROWS, METRIC)
    finally:
        await connection.close(timeout=10)
    return [Effect(client, change(client, seq), seq) for client, seq in rows]


async def on_topic(kafka: str) -> tuple[list[Effect], int]:
    """Changes that were told, in the order of the topic, each id once as every reader takes it; and how many came again."""
    log = KafkaLog(kafka, "faults")
    try:
        events = [decode(record) for record in await everything(log, "runs.v1")]
    finally:
        await log.close()
    once = list({event.id: event for event in events}.values())
    return list(_effects(once)), len(events) - len(once)


def _effects(events: Sequence[AnyEvent]) -> Iterable[Effect]:
    owners: dict[str, str] = {}
    for event in events:
        match event.data:
            case RunStarted(run_id=run, name=name):
                client, seq, _ = name.split(":")
                owners[run] = client
                yield Effect(client, change(client, int(seq)), int(seq))
            case MetricsLogged(run_id=run, metrics=points):
                owner = owners.get(run, "of nobody")
                yield from (Effect(owner, change(owner, point.step), point.step) for point in points)
