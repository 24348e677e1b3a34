"""A subscriber as a process: `python -m tests.faults.subscriber KAFKA TOPIC GROUP FILE` writes down each event's id as it comes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.faults.results import ROOT

import driftloop
from driftloop_contracts.topics import BY_NAME
from driftloop_kit.testing import bare_environment


class Subscriber:
    """A group of one. What it has heard outlives it."""

    def __init__(self, kafka: str, topic: str, folder: Path) -> None:
        self.file = folder / f"heard-{topic}"
        self._command = [sys.executable, "-m", "tests.faults.subscriber", kafka, topic, "faults", str(self.file)]
        self._log = folder / "subscriber.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It listens, from where its group has stopped."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(self._command, cwd=ROOT, env=bare_environment(), stdout=out, stderr=out)

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def heard(self) -> list[str]:
        """Ids, in the order in which they came; after a kill the last ones may stand here twice."""
        return self.file.read_text().split() if self.file.exists() else []


async def listen(kafka: str, topic: str, group: str, path: Path) -> None:
    """Until it is killed."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    async for event in driftloop.subscribe(BY_NAME[topic], group, kafka=kafka):
        os.write(file, f"{event.id}\n".encode())


if __name__ == "__main__":
    _, kafka_address, topic_name, group_name, path = sys.argv
    asyncio.run(listen(kafka_address, topic_name, group_name, Path(path)))
