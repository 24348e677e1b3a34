"""The retrainer as it ships, as a process; and the topics around it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from driftloop_bus.codec import decode, encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Consumer
from driftloop_contracts import AnyEvent

CODE = Path(__file__).parent / "code"
READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 20.0


@dataclass
class RunningRetrainer:
    """One process, and what it was given."""

    environment: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['RETRAINER_HTTP_PORT']}"

    @property
    def artifacts(self) -> str:
        return self.environment["DRIFTLOOP_ARTIFACTS"]

    def start(self) -> None:
        """Ready on return: at the same place as before, so the same member of its group."""
        with (self.folder / "log").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "retrainer"], env=os.environ | self.environment, stdout=out, stderr=out
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.ready().get("ready"):
                return
            time.sleep(0.1)
        self.process.kill()
        raise AssertionError(f"the retrainer was not ready:\n{(self.folder / 'log').read_text()}")

    def ready(self) -> dict[str, Any]:
        """What it says of itself; empty while it does not answer."""
        try:
            answer: dict[str, Any] = httpx.get(f"{self.url}/ready", timeout=2, trust_env=False).json()
        except httpx.TransportError:
            return {}
        return answer

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(timeout=ENDED_WITHIN_S)

    def stop(self) -> int:
        """Asked to end; what it ended with."""
        self.process.terminate()
        return self.process.wait(timeout=ENDED_WITHIN_S)


def place(kafka: str, database_url: str, folder: Path, tracking_uri: str = "") -> RunningRetrainer:
    """Where a retrainer will run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "DRIFTLOOP_KAFKA": kafka,
        "DRIFTLOOP_ARTIFACTS": (folder / "artifacts").as_uri(),
        "DRIFTLOOP_DATA": str(folder / "data"),
        "RETRAINER_DATABASE_URL": database_url,
        "RETRAINER_HTTP_PORT": str(port),
        "RETRAINER_CODE_PATH": str(CODE),
    }
    return RunningRetrainer(environment | ({"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {}), folder)


class Ear:
    """Hears one model's events on some topics, from the beginning."""

    def __init__(self, log: KafkaLog, model: str) -> None:
        self._log, self._model = log, model
        self._consumer: Consumer | None = None
        self.heard: list[AnyEvent] = []

    async def until(self, enough: Callable[[list[AnyEvent]], bool], topics: list[str], within_s: float = 60) -> None:
        """Enough was heard. Raises TimeoutError with what was heard instead."""
        self._consumer = self._consumer or await self._log.consumer(topics, None, _nobody, _nobody)
        deadline = time.monotonic() + within_s
        while not enough(self.heard):
            if time.monotonic() > deadline:
                raise TimeoutError(f"heard {[type(event.data).__name__ for event in self.heard]}")
            for piece in await self._consumer.poll(1_000, 100):
                self.heard += [
                    decode(record) for record in piece.records if (record.key or b"") == self._model.encode()
                ]

    def of(self, kind: type) -> list[AnyEvent]:
        """The events of this kind, each once by its id."""
        return list({event.id: event for event in self.heard if isinstance(event.data, kind)}.values())

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()


async def say(log: KafkaLog, service: str, *events: AnyEvent) -> None:
    """Each event is on its topic, twice: consumers must expect that."""
    producer = await log.producer()
    await producer.send([encode(event, service) for event in events for _ in range(2)])
    await producer.close()


async def _nobody(places: object) -> None:
    return None
