"""Clients that change things at a registry, through MLflow's door and by commands, and note what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from services.registry.tests.world import candidate, document
from tests.faults.account import Account, Refused, Unanswered
from tests.faults.registry_view import CHANGE

from driftloop_bus.codec import encode
from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Producer
from driftloop_bus.testing import say
from driftloop_contracts import AnyEvent, first
from driftloop_contracts.control_plane import CommandGiven

PAUSE_S = 0.02
# Commands wait on their topic while the registry is down; more of them than a person gives would only lengthen the end.
COMMAND_PAUSE_S = 0.1
ANSWER_S = 5.0


class Door:
    """MLflow's door, as a client without retries sees it."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=f"{url}/api/2.0/mlflow", timeout=ANSWER_S, trust_env=False)

    async def post(self, path: str, **body: Any) -> Any:
        """What it answers. Raises Refused where nothing has happened, Unanswered where nobody knows."""
        try:
            answer = await self._client.post(path, json=body)
        except httpx.ConnectError as nobody:
            raise Refused("nobody is there") from nobody
        except httpx.TransportError as cut:
            raise Unanswered(str(cut)) from cut
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise Refused(answer.text)
        assert answer.is_success, answer.text
        return answer.json()

    async def close(self) -> None:
        await self._client.aclose()


class Changes:
    """Change after change until told to stop; `ids` are `<key>:<seq>`, `seq` grows for each key."""

    def __init__(self, account: Account, door: Door) -> None:
        self._account, self._door = account, door
        self.stop = asyncio.Event()

    async def _again(
        self, client: str, key: str, change: Callable[[int], Awaitable[object]], pause_s: float = PAUSE_S
    ) -> None:
        seq = 0
        while not self.stop.is_set():
            seq += 1
            with self._account.attempt(client, key, seq, f"{key}:{seq}"):
                await change(seq)
            await asyncio.sleep(pause_s)

    async def tags(self, name: str) -> None:
        """A registered model's tag counts up."""
        await self._door.post("registered-models/create", name=name)
        await self._again(
            "tags", name, lambda seq: self._door.post("registered-models/set-tag", name=name, key="n", value=str(seq))
        )

    async def metrics(self) -> None:
        """A run logs step after step."""
        run_id = (await self._door.post("runs/create", experiment_id="0"))["run"]["info"]["run_id"]
        await self._again(
            "metrics",
            run_id,
            lambda seq: self._door.post("runs/log-metric", run_id=run_id, key="m", value=seq, timestamp=seq, step=seq),
        )

    async def runs(self, name: str) -> None:
        """Run after run is begun; each of them is a key of its own on the topic."""
        seq = 0
        while not self.stop.is_set():
            seq += 1
            what = f"{name}-{seq}:1"
            with self._account.attempt("runs", f"{name}-{seq}", 1, what):
                await self._door.post("runs/create", experiment_id="0", tags=[{"key": CHANGE, "value": what}])
            await asyncio.sleep(PAUSE_S)

    async def commands(self, producer: Producer, model: str, ask: Callable[[int], dict[str, Any]]) -> None:
        """People's commands, each acked by the broker."""

        async def send(seq: int) -> None:
            command = CommandGiven(model=model, given_by="anna", **ask(seq))
            event: AnyEvent = first(command, id=f"{model}:{seq}", time=datetime.now(UTC))
            try:
                await producer.send([encode(event, "console")])
            except TryAgain as away:
                raise Unanswered(str(away)) from away

        await self._again("commands", model, send, COMMAND_PAUSE_S)


def applied(model: str) -> Callable[[int], dict[str, Any]]:
    """The declaration has another owner each time."""
    return lambda seq: {"command": "apply", "document": document(model=model, owner=f"team-{seq}")}


def frozen_and_thawed(seq: int) -> dict[str, Any]:
    """In turn: each of them changes the deployment."""
    return {"command": "freeze" if seq % 2 else "unfreeze"}


async def declare(log: KafkaLog, model: str) -> None:
    """A person has applied its declaration."""
    declared = CommandGiven(model=model, given_by="anna", command="apply", document=document(model=model))
    await say(log, "console", first(declared, id=f"{model}:declared", time=datetime.now(UTC)))


async def train_first_version(log: KafkaLog, model: str) -> None:
    """Of a declared model: it will be deployed at once."""
    await say(log, "retrainer", candidate(f"{model}:trained", model=model))
