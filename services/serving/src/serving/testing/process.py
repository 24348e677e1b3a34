"""Serving as a process of its own, on a real Kafka; and what registry and feature store would have published."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_contracts import AnyEvent

STARTED_WITHIN_S: Final = 60.0


class ServingProcess:
    """One process, its folder, its address."""

    def __init__(self, kafka: str, folder: Path, **settings: str) -> None:
        self.kafka = kafka
        self.folder = folder
        self.artifacts = (folder / "artifacts").as_uri()
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It runs; `eventually_ready` says when it answers."""
        settings = {
            "DRIFTLOOP_KAFKA": self.kafka,
            "DRIFTLOOP_ARTIFACTS": self.artifacts,
            "DRIFTLOOP_DATA": str(self.folder / "data"),
            "SERVING_HTTP_PORT": str(self.port),
            **self._settings,
        }
        with (self.folder / "serving.log").open("ab") as log:
            named = [f"{name}={value}" for name, value in settings.items()]
            self.process = subprocess.Popen(["env", *named, sys.executable, "-m", "serving"], stdout=log, stderr=log)

    def end(self, number: int = signal.SIGTERM) -> int:
        """It is gone; its exit code."""
        if self.process is None:
            raise RuntimeError("the process was never started")
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    async def ready(self) -> dict[str, Any]:
        """What `/ready` says, or nothing while it does not answer."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                said: dict[str, Any] = (await client.get(f"{self.url}/ready")).json()
        except httpx.TransportError:
            return {}
        return said

    async def shown(self, model: str) -> dict[str, Any]:
        """What `/ready` says of the model."""
        return dict((await self.ready()).get("models", {}).get(model, {}))

    async def eventually(self, what: str, condition: Any) -> dict[str, Any]:
        """What `/ready` said when the condition on it came true. Raises AssertionError with the log when it does not."""
        said: dict[str, Any] = {}
        try:
            async with asyncio.timeout(STARTED_WITHIN_S):
                while not condition(said := await self.ready()):  # noqa: ASYNC110  # another process
                    await asyncio.sleep(0.05)
        except TimeoutError:
            log = (self.folder / "serving.log").read_text()[-4000:]
            raise AssertionError(f"not {what} in time; it said {said}\n{log}") from None
        return said

    async def eventually_serves(self, model: str, version: str) -> dict[str, Any]:
        """What `/ready` says of the model once this version is its champion."""

        def serves(said: dict[str, Any]) -> bool:
            return said.get("ready") is True and said["models"].get(model, {}).get("champion") == version

        said = await self.eventually(f"serving {model} {version}", serves)
        return dict(said["models"][model])


@contextmanager
def running(kafka: str, folder: Path, **settings: str) -> Iterator[ServingProcess]:
    """A process that is gone when the block ends."""
    serving = ServingProcess(kafka, folder, **settings)
    serving.start()
    try:
        yield serving
    finally:
        serving.end(signal.SIGKILL)


async def publish(kafka: str, service: str, events: Sequence[AnyEvent]) -> None:
    """The events are on the topics that this service writes."""
    log = KafkaLog(kafka, "serving-tests")
    try:
        producer = await log.producer()
        await producer.send([encode(event, service) for event in events])
    finally:
        await log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
