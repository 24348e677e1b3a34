"""Runs one training in a process of its own, with limits, and brings back what it made.

The code belongs to a user: it may raise, hang, eat memory or return nonsense. Nothing of it enters this process but
bytes and one JSON document that is checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from driftloop_artifacts import ArtifactCorrupt, ArtifactMissing, ArtifactStore, StoreUnavailable
from driftloop_bus.errors import TryAgain
from driftloop_contracts.loop import CandidateTrained
from driftloop_kit.jobs import JobFailed
from retrainer.domain import MAX_ARTIFACT_BYTES

MAX_DATASET_BYTES: Final = 8 * 1024**3
MAX_OUTPUT_CHARS: Final = 2000
# By this exit code the training process says that it refuses what it was given, or what train() returned.
REFUSED: Final = 65
# Python's own exit code after a traceback.
RAISED: Final = 1


class Executor:
    """Trains on this machine. The same job gives the same candidate, as often as it runs."""

    def __init__(self, artifacts: ArtifactStore, code_path: str, tracking_uri: str | None) -> None:
        self._artifacts = artifacts
        self._code_path = code_path
        self._tracking_uri = tracking_uri

    async def run(self, job_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        """The candidate as `CandidateTrained` says it. Raises JobFailed with the reason why there is none.

        Raises TryAgain while the artifact store is away.
        """
        with tempfile.TemporaryDirectory(prefix="driftloop-training-") as name:
            folder = Path(name)
            training = payload["training"]
            try:
                await self._lay_out(folder, training)
                await self._train(folder, job_id, payload["limits"])
                return await self._collect(folder, training)
            except StoreUnavailable as away:
                raise TryAgain(str(away)) from away
            except (ArtifactMissing, ArtifactCorrupt) as lost:
                raise JobFailed(str(lost), "dataset") from lost

    async def _lay_out(self, folder: Path, training: dict[str, Any]) -> None:
        rows = await self._artifacts.get(training["dataset_digest"], max_bytes=MAX_DATASET_BYTES)
        (folder / "rows.parquet").write_bytes(rows)
        if training["incumbent_digest"]:
            model = await self._artifacts.get(training["incumbent_digest"], max_bytes=MAX_ARTIFACT_BYTES)
            (folder / "incumbent").write_bytes(model)
        (folder / "training.json").write_text(json.dumps(training))

    async def _train(self, folder: Path, job_id: str, limits: dict[str, Any]) -> None:
        with (folder / "output").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "retrainer.training", str(folder), job_id,
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, env=self._environment(folder),
                start_new_session=True, preexec_fn=lambda: _limit(limits),
            )  # fmt: skip
            try:
                code = await asyncio.wait_for(process.wait(), limits["timeout_s"])
            except TimeoutError as late:
                raise JobFailed(
                    f"train() had not returned after {limits['timeout_s']:g} s, its timeout", "timeout"
                ) from late
            finally:
                _end(process)
                await process.wait()
        if code != 0:
            raise _failure(code, (folder / "output").read_text(errors="replace"), limits)

    def _environment(self, folder: Path) -> dict[str, str]:
        """Nothing of ours but what a training needs: no database, no broker, no key."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        tracking = {"MLFLOW_TRACKING_URI": self._tracking_uri} if self._tracking_uri else {}
        return kept | tracking | {
            "HOME": str(folder),
            "PYTHONPATH": self._code_path,
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
            "GIT_PYTHON_REFRESH": "quiet",
        }  # fmt: skip

    async def _collect(self, folder: Path, training: dict[str, Any]) -> dict[str, Any]:
        if not (folder / "result.json").exists():
            raise JobFailed("the training process ended without a result: train() must return, not exit", "refused")
        result = json.loads((folder / "result.json").read_text())
        artifact = (folder / "artifact").read_bytes()
        result["artifact_digest"] = await self._artifacts.put(artifact)
        result["artifact_bytes"] = len(artifact)
        result["reference_digest"] = await self._artifacts.put((folder / "reference.json").read_bytes())
        result |= {
            "model": training["model"],
            "request_id": training["request_id"],
            "dataset_digest": training["dataset_digest"],
            "features": training["features"],
            "seed": training["seed"],
            "gate_loss": training["gate_loss"],
        }
        try:
            candidate = CandidateTrained.model_validate(result)
        except ValidationError as odd:
            raise JobFailed(f"the training's result makes no candidate: {odd}", "refused") from odd
        return json.loads(candidate.model_dump_json())  # type: ignore[no-any-return]  # JSON of a model is a dict


def _limit(limits: dict[str, Any]) -> None:
    """In the child, before it becomes the training: what it may take."""
    memory = int(limits["memory_mb"]) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    cpu_s = int(limits["timeout_s"]) * (os.cpu_count() or 1) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end(process: asyncio.subprocess.Process) -> None:
    """The training and whatever it started: its session is its own, so this reaches nobody else."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _failure(code: int, output: str, limits: dict[str, Any]) -> JobFailed:
    said = output.strip()[-MAX_OUTPUT_CHARS:]
    last = said.splitlines()[-1] if said else "it said nothing"
    if code == REFUSED:
        return JobFailed(last, "refused")
    # numpy and pyarrow have memory errors of their own; all of them say so.
    if code == RAISED and any(word in last for word in ("MemoryError", "Unable to allocate", "malloc of size")):
        return JobFailed(f"{last} (its limit is {limits['memory_mb']} MiB: raise train.memory_mb)", "memory")
    if code == RAISED:
        return JobFailed(f"train() raised {last}", "raised")
    return JobFailed(f"the training process ended with {code}: {said or last}", "crashed")
