"""The registry as it ships, as a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 20.0


@dataclass
class RunningRegistry:
    """One process, and what it was given."""

    url: str
    database_url: str
    kafka: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "registry.log").read_text()

    def stop(self) -> int:
        """Asks it to end, and waits; what it ended with."""
        self.process.terminate()
        return self.process.wait(timeout=ENDED_WITHIN_S)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(timeout=ENDED_WITHIN_S)

    def again(self) -> RunningRegistry:
        """Another process at the same place, as a supervisor starts it; ready.

        The same port is the same member of the consumer group: it takes its partitions back at once.
        """
        return launch(self.database_url, self.kafka, self.folder, int(self.url.rpartition(":")[2]))


def launch(database_url: str, kafka: str, folder: Path, port: int | None = None) -> RunningRegistry:
    """A process that is ready."""
    port = port or _free_port()
    environment = os.environ | {
        "DRIFTLOOP_KAFKA": kafka,
        "DRIFTLOOP_ARTIFACTS": (folder / "artifacts").as_uri(),
        "DRIFTLOOP_DATA": str(folder / "data"),
        "REGISTRY_DATABASE_URL": database_url,
        "REGISTRY_HTTP_PORT": str(port),
    }
    with (folder / "registry.log").open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "registry"], env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=folder
        )
    running = RunningRegistry(f"http://127.0.0.1:{port}", database_url, kafka, folder, process)
    _until_ready(running)
    return running


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_ready(running: RunningRegistry) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and running.process.poll() is None:
        if _is_ready(running.url):
            return
        time.sleep(0.1)
    running.process.kill()
    raise AssertionError(f"the registry was not ready:\n{running.log}")


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
