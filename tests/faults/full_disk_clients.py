"""Clients that keep writing while disks fill: predictions, metrics and files; and what is there of it afterwards."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from tests.faults.account import Account, Line, Refused, Unanswered
from tests.faults.verdict import Effect

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.codec import decode
from driftloop_bus.ports import Log
from driftloop_bus.routes import on_batch
from driftloop_bus.tail import Tail
from driftloop_bus.testing import everything
from driftloop_contracts.control_plane import MetricsLogged
from driftloop_contracts.topics import PREDICTIONS, RUNS

ANSWER_S: Final = 8.0
PAUSE_S: Final = 0.1
# A request that weighs, so that a disk with little room has none.
METRICS: Final = 400
FILE_BYTES: Final = 16_384
MLFLOW: Final = "/api/2.0/mlflow"
FILES: Final = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass
class Clients:
    """Three, each with its own line of changes."""

    account: Account
    registry: str
    serving: str
    model: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    strange: list[str] = field(default_factory=list)
    """Answers that say neither yes nor later."""

    async def predictions(self) -> None:
        """One after the other, each with an id of its own."""

        async def predict(client: httpx.AsyncClient, seq: int) -> None:
            body = {"features": {"wind": float(seq % 7), "origin": "EWR"}, "prediction_id": f"predictions:{seq}"}
            # Nothing of a prediction that was refused may ever be seen.
            await self._asked(client.post(f"{self.serving}/predict/{self.model}", json=body), Refused)

        await self._again("predictions", predict)

    async def metrics(self) -> None:
        """A run logs batch after batch."""
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
            made = await client.post(f"{self.registry}{MLFLOW}/runs/create", json={"experiment_id": "0"})
        run_id = made.json()["run"]["info"]["run_id"]

        async def log(client: httpx.AsyncClient, seq: int) -> None:
            batch = [{"key": f"m{i}", "value": seq, "timestamp": seq, "step": seq} for i in range(METRICS)]
            call = client.post(f"{self.registry}{MLFLOW}/runs/log-batch", json={"run_id": run_id, "metrics": batch})
            await self._asked(call, Unanswered)

        await self._again("metrics", log)

    async def files(self) -> None:
        """File after file, none like another."""

        async def put(client: httpx.AsyncClient, seq: int) -> None:
            await self._asked(client.put(f"{self.registry}{FILES}/files/{seq}", content=content(seq)), Unanswered)

        await self._again("files", put)

    async def _again(self, name: str, change: Callable[[httpx.AsyncClient, int], Awaitable[None]]) -> None:
        seq = 0
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
            while not self.stop.is_set():
                seq += 1
                with self.account.attempt(name, name, seq, f"{name}:{seq}"):
                    await change(client, seq)
                await asyncio.sleep(PAUSE_S)

    async def _asked(self, call: Awaitable[httpx.Response], later: type[Exception]) -> None:
        try:
            answer = await call
        except httpx.TransportError as cut:
            raise Unanswered(str(cut)) from cut
        if answer.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.INSUFFICIENT_STORAGE):
            raise later(answer.text)
        if not answer.is_success:
            self.strange.append(f"{answer.status_code}: {answer.text[:200]}")
            raise Unanswered(answer.text)


def content(seq: int) -> bytes:
    """The bytes of file `seq`."""
    return b"".join(hashlib.sha256(f"{seq}:{part}".encode()).digest() for part in range(FILE_BYTES // 32))


async def effects(log: Log, clients: Clients, lines: list[Line]) -> list[Effect]:
    """What is there: predictions and metrics on their topics, files behind their door, whole."""
    steps = [_step(event.data) for event in await _events(log, RUNS.name) if isinstance(event.data, MetricsLogged)]
    found = [Effect("metrics", f"metrics:{step}", step) for step in steps]
    found += [Effect("predictions", name, int(name.partition(":")[2])) for name in await _predicted(log)]
    async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
        for seq in sorted(line.seq for line in lines if line.key == "files"):
            answer = await client.get(f"{clients.registry}{FILES}/files/{seq}")
            if answer.is_success and answer.content == content(seq):
                found.append(Effect("files", f"files:{seq}", seq))
            elif answer.status_code != httpx.codes.NOT_FOUND:
                clients.strange.append(f"{answer.status_code} for files/{seq}: {answer.text[:200]}")
    return found


async def _events(log: Log, topic: str) -> list[Any]:
    """Each once, where it came first."""
    return list({event.id: event for event in map(decode, await everything(log, topic))}.values())


def _step(fact: MetricsLogged) -> int:
    [step] = {metric.step for metric in fact.metrics}
    return int(step or 0)


class _Reader:
    """Hears predictions; what was sent again, under the same id, counts where it came first."""

    def __init__(self) -> None:
        self.by_event: dict[str, str] = {}

    def on_predictions(self, batch: PredictionBatch) -> None:
        for event_id, name in zip(batch.event_ids, batch.prediction_ids, strict=True):
            self.by_event.setdefault(event_id, name)


async def _predicted(log: Log) -> list[str]:
    reader = _Reader()
    tail = Tail(log, [PREDICTIONS], [on_batch(PREDICTIONS, _Reader.on_predictions)], reader)
    running = asyncio.create_task(tail.run())
    async with asyncio.timeout(60):
        await tail.until_caught_up()
    tail.stop()
    await running
    return list(reader.by_event.values())


def broken(artifacts: Path) -> list[str]:
    """Blobs whose bytes are not those of their name."""
    return [
        path.name
        for path in sorted(artifacts.glob("sha256/*/*"))
        if "#" not in path.name and hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    ]
