"""A service of ours as a process of its own, on the real Kafka."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_contracts import AnyEvent

WITHIN_S: Final = 90.0


@dataclass
class Running:
    """One process, its address, its log."""

    module: str
    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", trust_env=False, timeout=10)

    def post(self, path: str, body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, trust_env=False, timeout=20)

    def until(self, path: str, so: Callable[[Any], bool], within_s: float = WITHIN_S) -> Any:
        """What the path answers once it is so."""
        deadline, said = time.monotonic() + within_s, None
        while time.monotonic() < deadline:
            try:
                said = self.get(path).json()
                if so(said):
                    return said
            except httpx.TransportError as away:
                said = away
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            time.sleep(0.05)
        raise AssertionError(f"{self.module} {path} said {said!r}\n{self.log.read_text()[-4000:]}")

    def until_ready(self) -> None:
        self.until("/ready", lambda said: bool(said["ready"]))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """It is gone; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def running(module: str, kafka: str, folder: Path, port: int | None = None, **settings: str) -> Iterator[Running]:
    """The service, ready; gone when the block ends."""
    port = port or free_port()
    environment = os.environ | {
        "DRIFTLOOP_KAFKA": kafka,
        "DRIFTLOOP_ARTIFACTS": (folder / "artifacts").as_uri(),
        "DRIFTLOOP_DATA": str(folder / module),
        f"{module.upper()}_HTTP_PORT": str(port),
        **settings,
    }
    path = folder / f"{module}.log"
    with path.open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=log, stderr=log)
    service = Running(module, f"http://127.0.0.1:{port}", path, process)
    try:
        service.until_ready()
        yield service
    finally:
        service.end(signal.SIGKILL)


async def publish(kafka: str, service: str, events: Sequence[AnyEvent]) -> None:
    """The events are on the topics that this service writes."""
    log = KafkaLog(kafka, "console-tests")
    try:
        await (await log.producer()).send([encode(event, service) for event in events])
    finally:
        await log.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
