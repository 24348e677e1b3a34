"""The registry as it ships, as a process on a real Kafka and Postgres, and the address that a stock client needs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from driftloop_kit.schema import migrate
from driftloop_local.stack import LocalStack

READY_WITHIN_S = 60.0


@dataclass
class RunningRegistry:
    """One process."""

    url: str
    database_url: str
    kafka: str
    artifacts: Path
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        """Asks it to end, and waits; what it ended with."""
        self.process.terminate()
        return self.process.wait(timeout=20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def start_registry(
    stack: LocalStack, kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], RunningRegistry]]:
    """Starts one with a database and an artifact store of its own; all are stopped at the end."""
    import asyncio
    import uuid

    started: list[RunningRegistry] = []

    def start() -> RunningRegistry:
        database = stack.create_service_database(f"registry_{uuid.uuid4().hex[:8]}")
        asyncio.run(migrate("registry", database.owner_url))
        running = launch(database.login_url, kafka, tmp_path_factory.mktemp("registry"))
        started.append(running)
        until_ready(running)
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="module")
def registry(start_registry: Callable[[], RunningRegistry]) -> RunningRegistry:
    """One that runs."""
    return start_registry()


def launch(database_url: str, kafka: str, folder: Path) -> RunningRegistry:
    port = free_port()
    environment = os.environ | {
        "DRIFTLOOP_KAFKA": kafka,
        "DRIFTLOOP_ARTIFACTS": (folder / "artifacts").as_uri(),
        "DRIFTLOOP_DATA": str(folder / "data"),
        "REGISTRY_DATABASE_URL": database_url,
        "REGISTRY_HTTP_PORT": str(port),
    }
    log = folder / "registry.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "registry"], env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=folder
        )
    return RunningRegistry(f"http://127.0.0.1:{port}", database_url, kafka, folder / "artifacts", process, log)


def until_ready(running: RunningRegistry) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            raise AssertionError(f"the registry ended:\n{running.log.read_text()}")
        try:
            if httpx.get(f"{running.url}/ready", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the registry was not ready within {READY_WITHIN_S} s:\n{running.log.read_text()}")
