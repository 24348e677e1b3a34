"""Runs one training in a process of its own, with limits, and brings back what it made.

The code belongs to a user: it may raise, hang, eat memory or return nonsense. Nothing of it enters this process but
bytes and one JSON document that is checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from driftloop_artifacts import (
    ArtifactCorrupt,
    ArtifactMissing,
    ArtifactStore,
    ArtifactTooLarge,
    BadDigest,
    StoreUnavailable,
)
from driftloop_bus.errors import TryAgain
from driftloop_contracts.loop import CandidateTrained
from driftloop_contracts.topics import MAX_VALUE_BYTES
from driftloop_kit.jobs import JobFailed
from retrainer.domain import MAX_ARTIFACT_BYTES, Limits, Training
from retrainer.process import TrainingProcess, sweep

MAX_DATASET_BYTES: Final = 8 * 1024**3
MAX_REFERENCE_BYTES: Final = 64 * 1024**2
MAX_OUTPUT_CHARS: Final = 2000
# What the training process says of itself; anything else that it leaves is its own invention.
KINDS: Final = ("raised", "memory", "refused")
# When memory runs out below Python nobody raises: the C++ runtime aborts, or the kernel kills.
ABORTED_FOR_MEMORY: Final = ("bad_alloc", "Cannot allocate memory", "out of memory")


class Executor:
    """Trains on this machine. The same job gives the same candidate, as often as it runs."""

    def __init__(
        self, artifacts: ArtifactStore, code_path: str, tracking_uri: str | None, scratch: Path, autolog: bool = True
    ) -> None:
        """scratch: a folder of this process alone; what an earlier one left there is removed. autolog: as in `tracking`."""
        self._artifacts = artifacts
        self._code_path = [one for one in code_path.split(os.pathsep) if one]
        self._tracking_uri = tracking_uri
        self._scratch = scratch
        self._autolog = autolog
        self._running: dict[str, dict[str, str]] = {}
        self._spare: TrainingProcess | None = None
        sweep(scratch)

    def running(self) -> list[dict[str, str]]:
        """What is being trained now: model, request, since when."""
        return list(self._running.values())

    async def warm(self) -> None:
        """A process waits for the next training."""
        if self._spare is None or not self._spare.waits:
            await self.cool()
            self._spare = await TrainingProcess.start(self._scratch, self._environment(), ahead=True)

    async def cool(self) -> None:
        """No process waits."""
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.end()

    async def run(self, job_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        """The candidate as `CandidateTrained` says it. Raises JobFailed with the reason why there is none.

        Raises TryAgain while the artifact store is away. Cancelled, it leaves nothing running.
        """
        training, limits = Training(**payload["training"]), Limits(**payload["limits"])
        process = await self._process()
        try:
            with self._noted(job_id, training):
                await self._lay_out(process.folder, training)
                given = payload | {"code_path": self._code_path, "autolog": self._autolog}
                (process.folder / "job.json").write_text(json.dumps(given))
                await self._train(process, limits)
                return await self._collect(process.folder, training)
        except StoreUnavailable as away:
            raise TryAgain(str(away)) from away
        finally:
            await process.end()

    async def _process(self) -> TrainingProcess:
        spare, self._spare = self._spare, None
        if spare is not None and spare.waits:
            return spare
        if spare is not None:
            await spare.end()
        return await TrainingProcess.start(self._scratch, self._environment())

    @contextmanager
    def _noted(self, job_id: str, training: Training) -> Iterator[None]:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._running[job_id] = {"model": training.model, "request_id": training.request_id, "since": since}
        try:
            yield
        finally:
            del self._running[job_id]

    async def _lay_out(self, folder: Path, training: Training) -> None:
        rows = await self._fetched(training.dataset_digest, "dataset", MAX_DATASET_BYTES)
        await asyncio.to_thread((folder / "rows.parquet").write_bytes, rows)
        if training.incumbent_digest:
            model = await self._fetched(training.incumbent_digest, "incumbent", MAX_ARTIFACT_BYTES)
            await asyncio.to_thread((folder / "incumbent").write_bytes, model)

    async def _fetched(self, digest: str, what: str, max_bytes: int) -> bytes:
        try:
            return await self._artifacts.get(digest, max_bytes=max_bytes)
        except (ArtifactMissing, ArtifactCorrupt, ArtifactTooLarge, BadDigest) as lost:
            raise JobFailed(f"the {what} can't be read: {lost}", what) from lost

    async def _train(self, process: TrainingProcess, limits: Limits) -> None:
        try:
            code = await process.go(limits.timeout_s)
        except TimeoutError as late:
            reason = (
                f"train() had not returned after {limits.timeout_s:g} s, its timeout: raise train.timeout, or do less"
            )
            raise JobFailed(reason, "timeout") from late
        if code != 0 or (process.folder / "failure.json").exists():
            raise failure(code, process.folder, limits)

    def _environment(self) -> dict[str, str]:
        """Nothing of ours but what a training needs: no database, no broker, no key."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        tracking = {"MLFLOW_TRACKING_URI": self._tracking_uri} if self._tracking_uri else {}
        return kept | tracking | {
            "PYTHONPATH": os.pathsep.join(self._code_path),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
            "GIT_PYTHON_REFRESH": "quiet",
        }  # fmt: skip

    async def _collect(self, folder: Path, training: Training) -> dict[str, Any]:
        result = read_result(folder)
        artifact = await asyncio.to_thread(read_bounded, folder / "artifact", MAX_ARTIFACT_BYTES)
        result["artifact_digest"] = await self._artifacts.put(artifact)
        result["artifact_bytes"] = len(artifact)
        result["reference_digest"] = None
        if (folder / "reference.json").exists():
            result["reference_digest"] = await self._artifacts.put(
                read_bounded(folder / "reference.json", MAX_REFERENCE_BYTES)
            )
        result |= {
            "model": training.model,
            "request_id": training.request_id,
            "dataset_digest": training.dataset_digest,
            "features": training.features,
            "seed": training.seed,
            "gate_loss": training.gate_loss,
        }
        return as_candidate(result)


def as_candidate(result: dict[str, Any]) -> dict[str, Any]:
    """The result as the event will say it. Raises JobFailed where it says no such thing."""
    try:
        text = CandidateTrained.model_validate(result).model_dump_json()
    except ValidationError as odd:
        first = odd.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise JobFailed(f"the training's result makes no candidate: {place}: {first['msg']}", "refused") from odd
    if len(text) > MAX_VALUE_BYTES:
        raise JobFailed(f"the candidate's evidence weighs {len(text)} bytes, allowed are {MAX_VALUE_BYTES}", "refused")
    return json.loads(text)  # type: ignore[no-any-return]  # JSON of a model is a dict


def read_result(folder: Path) -> dict[str, Any]:
    """What the training process left. Raises JobFailed where it left none."""
    try:
        result = json.loads(read_bounded(folder / "result.json", 2 * MAX_VALUE_BYTES))
    except ValueError as odd:
        raise JobFailed(f"the training's result is no JSON: {odd}", "refused") from odd
    if not isinstance(result, dict):
        raise JobFailed(f"the training's result is no JSON object, but {type(result).__name__}", "refused")
    return result


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The file's bytes. Raises JobFailed where it is missing or too large."""
    if not path.exists():
        raise JobFailed(f"the training process ended without its {path.name}: train() must return, not exit", "refused")
    if path.stat().st_size > max_bytes:
        raise JobFailed(f"{path.name} has {path.stat().st_size} bytes, allowed are {max_bytes}", "refused")
    return path.read_bytes()


def failure(code: int, folder: Path, limits: Limits) -> JobFailed:
    """Why there is no candidate: in the process's own words, else by how it ended."""
    output = tail(folder / "output")
    if (folder / "failure.json").exists():
        said = json.loads(read_bounded(folder / "failure.json", MAX_VALUE_BYTES))
        kind = said["kind"] if said["kind"] in KINDS else "raised"
        return JobFailed(said["reason"] + (hint(limits) if kind == "memory" else ""), kind)
    if any(words in output for words in ABORTED_FOR_MEMORY) or "MemoryError" in output:
        return JobFailed(f"the training ran out of memory{hint(limits)}", "memory")
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return JobFailed(f"the training process ended by {how}: {output or 'it said nothing'}", "crashed")


def hint(limits: Limits) -> str:
    """What to do about memory."""
    return f" (its limit is {limits.memory_mb} MiB: raise train.memory_mb)"


def tail(path: Path) -> str:
    """The end of what the process said."""
    with path.open("rb") as output:
        output.seek(max(0, path.stat().st_size - MAX_OUTPUT_CHARS))
        return output.read().decode(errors="replace").strip()
