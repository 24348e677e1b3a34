"""The monitor as it ships, as processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 20.0


@dataclass
class Running:
    """One process, and what it was given."""

    url: str
    database_url: str
    kafka: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "monitor.log").read_text()

    def stop(self) -> int:
        """Asks it to end, and waits; what it ended with."""
        self.process.terminate()
        return self.process.wait(timeout=ENDED_WITHIN_S)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(timeout=ENDED_WITHIN_S)

    def again(self) -> Running:
        """Another process on the same database, log and folder; ready."""
        return launch(self.database_url, self.kafka, self.folder)

    def page(self, path: str) -> Any:
        """A page's JSON; None where there is none."""
        answer = httpx.get(f"{self.url}{path}", timeout=5)
        return answer.json() if answer.status_code in (httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE) else None


def launch(database_url: str, kafka: str, folder: Path) -> Running:
    """A monitor that is ready."""
    port = _free_port()
    process = _start(["monitor"], kafka, folder, {"MONITOR_DATABASE_URL": database_url, "MONITOR_HTTP_PORT": str(port)})
    running = Running(f"http://127.0.0.1:{port}", database_url, kafka, folder, process)
    until(lambda: _is_ready(running), "ready", lambda: running.log)
    return running


def launch_rollups(kafka: str, folder: Path) -> subprocess.Popen[bytes]:
    """The rollups' process; it has no door to ask at."""
    return _start(["monitor", "rollups"], kafka, folder, {})


def until(
    look: Callable[[], Any], what: str, explain: Callable[[], str] = str, within_s: float = READY_WITHIN_S
) -> Any:
    """What it sees, once it sees something."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.1)
    raise AssertionError(f"not {what}:\n{explain()}")


def _start(words: list[str], kafka: str, folder: Path, more: dict[str, str]) -> subprocess.Popen[bytes]:
    environment = os.environ | more | {
        "DRIFTLOOP_KAFKA": kafka,
        "DRIFTLOOP_ARTIFACTS": (folder / "artifacts").as_uri(),
        "DRIFTLOOP_DATA": str(folder / "data"),
    }  # fmt: skip
    with (folder / f"{words[-1]}.log").open("ab") as out:
        return subprocess.Popen([sys.executable, "-m", *words], env=environment, stdout=out, stderr=out, cwd=folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(running: Running) -> bool:
    assert running.process.poll() is None, running.log
    try:
        return httpx.get(f"{running.url}/ready", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
