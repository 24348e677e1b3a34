"""One training process: started ahead of its job, so that its imports cost nobody time; told to go; ended with all it started."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

PREFIX: Final = "training-"


class TrainingProcess:
    """Waits in a folder of its own until it is told to go."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self._process = process

    @classmethod
    async def start(cls, scratch: Path, environment: Mapping[str, str], *, ahead: bool = False) -> Self:
        """A process that waits. ahead: nothing waits for it yet, so it imports what most trainings need."""
        folder, started = Path(tempfile.mkdtemp(prefix=PREFIX, dir=scratch)), False
        own = {"HOME": str(folder), "TMPDIR": str(folder)}
        try:
            with (folder / "output").open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "retrainer.training", str(folder), str(os.getpid()),
                    *(["ahead"] if ahead else []),
                    stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output, cwd=folder, env={**environment, **own},
                    start_new_session=True,
                )  # fmt: skip
            started = True
        finally:
            if not started:
                shutil.rmtree(folder, ignore_errors=True)
        return cls(folder, process)

    @property
    def waits(self) -> bool:
        """Whether it is still there."""
        return self._process.returncode is None

    async def go(self, timeout_s: float) -> int:
        """It trains on what lies in its folder; its exit code. Raises TimeoutError when it takes longer."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"go\n")
            self._process.stdin.close()
        return await asyncio.wait_for(self._process.wait(), timeout_s)

    async def end(self) -> None:
        """It and whatever it started are gone, and its folder. Its session is its own, so this reaches nobody else."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        await self._process.wait()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)


def sweep(scratch: Path) -> None:
    """The folder is there, and nothing of an earlier process's trainings in it."""
    scratch.mkdir(parents=True, exist_ok=True)
    for left in scratch.glob(f"{PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
