"""The feature store as it ships, as a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 20.0


@dataclass
class RunningFeatureStore:
    """One process, and what it was given."""

    environment: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['FEATURE_STORE_HTTP_PORT']}"

    @property
    def artifacts(self) -> str:
        return self.environment["DRIFTLOOP_ARTIFACTS"]

    @property
    def history(self) -> str:
        return self.environment["DRIFTLOOP_HISTORY"]

    def start(self) -> None:
        """Ready on return: at the same place as before, so the same member of its groups."""
        with (self.folder / "log").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "feature_store"], env=os.environ | self.environment, stdout=out, stderr=out
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.ready().get("ready"):
                return
            time.sleep(0.1)
        self.process.kill()
        raise AssertionError(f"the feature store was not ready:\n{(self.folder / 'log').read_text()}")

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


def place(kafka: str, database_url: str, folder: Path) -> RunningFeatureStore:
    """Where a feature store will run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "DRIFTLOOP_KAFKA": kafka,
        "DRIFTLOOP_ARTIFACTS": (folder / "artifacts").as_uri(),
        "DRIFTLOOP_HISTORY": (folder / "history").as_uri(),
        "DRIFTLOOP_DATA": str(folder / "data"),
        "FEATURE_STORE_DATABASE_URL": database_url,
        "FEATURE_STORE_HTTP_PORT": str(port),
        "FEATURE_STORE_PROJECT": "demo",
    }
    return RunningFeatureStore(environment, folder)
