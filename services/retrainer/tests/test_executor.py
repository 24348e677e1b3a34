"""Real training processes: what each way of going right or wrong leaves behind."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from services.retrainer.tests.world import built, deployed, document, requested, rows

from driftloop_artifacts import ArtifactStore
from driftloop_bus.errors import TryAgain
from driftloop_bus.testing import eventually
from driftloop_contracts import caused
from driftloop_contracts.loop import CandidateTrained
from driftloop_detect.structural import Reference
from driftloop_kit.jobs import JobFailed
from driftloop_models import check_golden, load
from retrainer.executor import Executor
from retrainer.handlers import dataset_wanted, training_payload
from retrainer.warming import keep_warm

pytestmark = pytest.mark.process

CODE = str(Path(__file__).parent / "code")
MAX_BYTES = 100_000_000


class Bench:
    """An executor with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artifacts = ArtifactStore.open((folder / "artifacts").as_uri())
        self.executor = Executor(self.artifacts, CODE, None, folder / "scratch")

    async def job(self, table: pa.Table | None = None, *, incumbent: str | None = None, **more: Any) -> dict[str, Any]:
        """The payload of a training on these rows, as the handlers make it."""
        sink = io.BytesIO()
        pq.write_table(rows() if table is None else table, sink)
        digest = await self.artifacts.put(sink.getvalue())
        declared, request = document(**more), requested()
        asked = built(caused(dataset_wanted(request, declared), request.as_cause()), digest)
        deployment = deployed(1, "1").data if incumbent else None
        payload = training_payload(asked, request, declared, deployment)
        if incumbent:
            payload["training"]["incumbent_digest"] = incumbent
        return payload

    async def trained(self, table: pa.Table | None = None, **more: Any) -> CandidateTrained:
        """The candidate that such a training brings."""
        return CandidateTrained.model_validate(await self.executor.run("job", await self.job(table, **more)))

    async def failed(self, entry: str = "samples:linear", table: pa.Table | None = None, **more: Any) -> JobFailed:
        """Why such a training brings none."""
        payload = await self.job(table, entry=entry, **more)
        with pytest.raises(JobFailed) as failure:
            await self.executor.run("job", payload)
        assert list((self.folder / "scratch").iterdir()) == []
        return failure.value


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def train(entry: str, **limits: Any) -> dict[str, Any]:
    """The declaration's part about training."""
    return {"entry": entry, "timeout": "60s", "memory_mb": 1024} | limits


async def test_a_good_function_makes_a_candidate_with_its_back_test(bench: Bench) -> None:
    candidate = await bench.trained(rows(6_000))
    held = candidate.backtest.loss_to_hold
    assert (held.loss, len(held.windows), len(held.quantiles)) == ("brier", 28, 513)
    assert held.n == sum(window.n for window in held.windows) == 2_800
    assert held.interval is not None
    assert held.interval[0] < held.mean < held.interval[1]
    assert candidate.backtest.auc is not None
    assert candidate.backtest.auc > 0.7
    assert (candidate.incumbent, candidate.gain, candidate.rows) == (None, None, 6_000)
    assert {part.slice["site"] for part in candidate.slices} == {"EWR", "JFK", "LGA", None}
    assert sum(part.rows for part in candidate.slices) == 2_800
    assert candidate.cpu_s > 0
    assert candidate.latency_ms is not None


async def test_what_ships_can_be_loaded_and_answers_its_golden_rows(bench: Bench) -> None:
    candidate = await bench.trained()
    model = load(await bench.artifacts.get(candidate.artifact_digest, max_bytes=MAX_BYTES), max_bytes=MAX_BYTES)
    assert candidate.golden_rows
    check_golden(model, [row.model_dump() for row in candidate.golden_rows])
    assert dict(model.features) == candidate.features


async def test_the_incumbent_is_scored_on_the_same_rows(bench: Bench) -> None:
    first = await bench.trained(entry="samples:plain")
    second = await bench.trained(incumbent=first.artifact_digest)
    assert second.incumbent is not None
    assert second.incumbent_version == "1"
    assert second.incumbent.loss_to_hold.n == second.backtest.loss_to_hold.n
    assert second.gain is not None
    assert second.gain > 0.05
    assert all(part.incumbent is not None for part in second.slices)
    assert second.incumbent.log_loss is not None
    assert second.backtest.log_loss is not None
    assert second.gain == pytest.approx(second.incumbent.log_loss - second.backtest.log_loss)


async def test_the_same_job_twice_gives_the_same_artifact(bench: Bench) -> None:
    job = await bench.job(train=train("samples:boosted"))
    once, twice = [CandidateTrained.model_validate(await bench.executor.run("job", job)) for _ in range(2)]
    assert once.artifact_digest == twice.artifact_digest
    assert (once.code_digest, once.environment_digest) == (twice.code_digest, twice.environment_digest)
    assert once.backtest == twice.backtest


async def test_enough_rows_leave_a_reference_in_the_order_of_the_predictions(bench: Bench) -> None:
    candidate = await bench.trained(rows(6_000), entry="samples:plain")
    assert candidate.reference_digest is not None
    stored = json.loads(await bench.artifacts.get(candidate.reference_digest, max_bytes=MAX_BYTES))
    reference = Reference.from_json(stored)
    assert reference.rows == 6_000
    assert set(reference.segments) == {"EWR", "JFK", "LGA"}
    assert set(reference.numbers) == {"wind", "holiday"}
    assert 0.03 < reference.categories["site"].null_rate < 0.07


async def test_too_few_rows_for_a_reference_are_enough_for_a_candidate(bench: Bench) -> None:
    assert (await bench.trained(rows(1_500), entry="samples:plain")).reference_digest is None


async def test_a_regression_is_trained_on_its_own_loss(bench: Bench) -> None:
    squared = {"outcome": {"loss": "squared"}, "monitor": {"trigger": {"loss": "squared", "min_outcomes": 10}}}
    candidate = await bench.trained(rows(task="regression"), entry="samples:ridge", task="regression", **squared)
    assert (candidate.backtest.log_loss, candidate.backtest.auc) == (None, None)
    assert 0.8 < candidate.backtest.loss_to_hold.mean < 2.5
    assert candidate.golden_rows is not None
    assert isinstance(candidate.golden_rows[0].score, float)


async def test_several_classes_are_trained_by_their_names(bench: Bench) -> None:
    candidate = await bench.trained(rows(task="multiclass"), task="multiclass")
    assert candidate.backtest.auc is None
    assert candidate.backtest.log_loss is not None
    assert candidate.backtest.log_loss < 1.0
    assert candidate.golden_rows is not None
    scores = candidate.golden_rows[0].score
    assert isinstance(scores, list)
    assert len(scores) == 3


async def test_slices_of_booleans_and_numbers_are_told_apart(bench: Bench) -> None:
    candidate = await bench.trained(rows(6_000), entry="samples:plain", gate={"slices": ["holiday"]})
    assert {part.slice["holiday"] for part in candidate.slices} == {0.0, 1.0, None}


async def test_only_features_and_target_are_shown_to_the_function(bench: Bench) -> None:
    failed = await bench.failed("samples:sees_more_than_features")
    assert "['wind', 'site', 'holiday', 'target'], the params {'c': 1.0}, the seed 7" in failed.reason


async def test_a_training_sees_nothing_of_our_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAINER_DATABASE_URL", "postgres://secret")
    failed = await bench.failed("samples:tells_its_environment")
    assert "RETRAINER" not in failed.reason
    assert "PYTHONHASHSEED" in failed.reason


RAISED = {
    "samples:raises": ("raised", "train() raised LookupError: the price list of 2013 is missing (samples.py:"),
    "samples:nothing": ("refused", "the train function returned None"),
    "samples:text": ("refused", "the train function returned str; allowed: TableModel"),
    "samples:unfitted": ("refused", "HistGradientBoostingClassifier that is not fitted"),
    "samples:not_a_number": ("refused", "predictions are not finite"),
    "samples:other_features": ("refused", "the model's features are not the declared ones"),
    "samples:other_task": ("refused", "the model is a regression model, the declaration says binary"),
    "samples:leaves": ("refused", "train() must return, not exit"),
    "samples:leaves_hard": ("refused", "train() must return, not exit"),
    "samples:leaves_with_a_code": ("crashed", "exit code 3: the licence server said no"),
    "samples:kills_itself": ("crashed", "signal SIGKILL"),
    "samples:touches_what_is_not_its_own": ("crashed", "signal SIGSEGV"),
    "samples:forges_a_result": ("refused", "the training's result makes no candidate"),
    "samples:eats_memory_below_python": ("memory", "raise train.memory_mb"),
    "samples:NUMBER": ("refused", "samples has no function NUMBER; it has boosted, eats_memory, "),
    "samples:missing": ("refused", "samples has no function missing; it has boosted, eats_memory, "),
    "nowhere:train": ("refused", "there is no module nowhere; RETRAINER_CODE_PATH holds broken, samples"),
    "broken:train": ("raised", "No module named 'a_library_that_nobody_has'"),
}


@pytest.mark.parametrize("entry", RAISED)
async def test_each_way_to_go_wrong_has_its_kind_and_its_words(bench: Bench, entry: str) -> None:
    kind, words = RAISED[entry]
    failed = await bench.failed(entry)
    assert failed.kind == kind, failed.reason
    assert words in failed.reason


async def test_a_function_that_eats_memory_is_stopped_at_its_limit(bench: Bench) -> None:
    failed = await bench.failed(train=train("samples:eats_memory", memory_mb=256))
    assert failed.kind == "memory"
    assert "its limit is 256 MiB: raise train.memory_mb" in failed.reason


async def test_a_function_that_hangs_ends_at_its_timeout_with_what_it_started(bench: Bench, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    failed = await bench.failed(train=train("samples:hangs", timeout="5s", params={"pids": str(pids)}))
    assert failed.kind == "timeout"
    assert "had not returned after 5 s" in failed.reason
    assert not any(runs(int(pid)) for pid in pids.read_text().split())


async def test_a_cancelled_training_leaves_nothing_running(bench: Bench, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    payload = await bench.job(train=train("samples:hangs", params={"pids": str(pids)}))
    task = asyncio.create_task(bench.executor.run("job", payload))
    async with asyncio.timeout(30):
        while not pids.exists() or not pids.read_text():  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.05)
    assert [one["model"] for one in bench.executor.running()] == ["lateness"]
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert not any(runs(int(pid)) for pid in pids.read_text().split())
    assert bench.executor.running() == []
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_too_few_rows_for_the_back_test_are_refused_with_the_reason(bench: Bench) -> None:
    failed = await bench.failed("samples:plain", rows(200), monitor={"trigger": {"min_outcomes": 200}})
    assert failed.kind == "refused"
    assert "no window of the back-test holds 200 outcomes" in failed.reason


async def test_rows_of_less_than_the_back_tests_windows_are_refused_with_the_reason(bench: Bench) -> None:
    table = rows()
    failed = await bench.failed("samples:plain", table.slice(len(table) * 2 // 3))
    assert failed.kind == "refused"
    assert "0 outcomes had arrived by 2013-02-02" in failed.reason


async def test_a_loss_that_does_not_fit_the_task_is_refused_by_name(bench: Bench) -> None:
    failed = await bench.failed("samples:ridge", rows(task="regression"), task="regression")
    assert "outcome.loss log_loss does not fit task regression; allowed: squared" in failed.reason


async def test_a_flipped_bit_in_the_dataset_is_found(bench: Bench) -> None:
    payload = await bench.job()
    flip(bench.folder, payload["training"]["dataset_digest"])
    with pytest.raises(JobFailed, match=r"the dataset can't be read: artifact sha256:.* holds bytes of") as failure:
        await bench.executor.run("job", payload)
    assert failure.value.kind == "dataset"


async def test_a_flipped_bit_in_the_incumbent_is_found(bench: Bench) -> None:
    incumbent = (await bench.trained(entry="samples:plain")).artifact_digest
    payload = await bench.job(incumbent=incumbent)
    flip(bench.folder, incumbent)
    with pytest.raises(JobFailed, match="the incumbent can't be read") as failure:
        await bench.executor.run("job", payload)
    assert failure.value.kind == "incumbent"


async def test_while_the_artifact_store_is_away_the_job_waits(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = await bench.job()
    nobody = {"ENDPOINT_URL": "http://127.0.0.1:9", "ALLOW_HTTP": "1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in nobody.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    away = ArtifactStore.open("s3://bucket/prefix", deadline_s=0.5)
    with pytest.raises(TryAgain):
        await Executor(away, CODE, None, tmp_path / "other").run("job", payload)


async def test_while_tracking_is_away_the_training_goes_on_without_a_run(bench: Bench, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    executor = Executor(bench.artifacts, CODE, nobody, tmp_path / "other")
    result = await executor.run("job", await bench.job(entry="samples:plain"))
    assert result["run_id"] is None


async def test_a_warm_process_is_used_once_and_what_is_not_used_goes(bench: Bench, tmp_path: Path) -> None:
    await bench.executor.warm()
    await bench.executor.warm()
    [folder] = (tmp_path / "scratch").iterdir()
    job = await bench.job(entry="samples:tells_its_folder")
    with pytest.raises(JobFailed, match=folder.name):
        await bench.executor.run("job", job)
    assert list((tmp_path / "scratch").iterdir()) == []
    await bench.executor.warm()
    await bench.executor.cool()
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_a_warm_process_that_died_is_replaced(bench: Bench, tmp_path: Path) -> None:
    await bench.executor.warm()
    [folder] = (tmp_path / "scratch").iterdir()
    [pid] = [int(name) for name in os.listdir("/proc") if name.isdigit() and str(folder) in command_of(int(name))]
    os.kill(pid, signal.SIGKILL)
    assert not runs(pid)
    assert (await bench.executor.run("job", await bench.job(entry="samples:plain")))["rows"] == 1_500


async def test_a_process_waits_for_the_training_as_long_as_rows_are_gathered(bench: Bench, tmp_path: Path) -> None:
    waiting = 0

    async def gathering() -> int:
        return waiting

    def folders() -> int:
        return len(list((tmp_path / "scratch").iterdir()))

    keeper = asyncio.create_task(keep_warm(bench.executor, gathering))
    await asyncio.sleep(0.1)
    assert folders() == 0
    waiting = 1
    await eventually(lambda: folders() == 1)
    keeper.cancel()
    await asyncio.wait({keeper})
    assert folders() == 0


async def test_what_a_killed_predecessor_left_is_removed(bench: Bench, tmp_path: Path) -> None:
    left = tmp_path / "scratch" / "training-abc"
    left.mkdir()
    (left / "rows.parquet").write_bytes(b"x")
    Executor(bench.artifacts, CODE, None, tmp_path / "scratch")
    assert not left.exists()


def flip(folder: Path, digest: str) -> None:
    """One bit of the stored artifact is another."""
    hexes = digest.removeprefix("sha256:")
    path = folder / "artifacts" / "sha256" / hexes[:2] / hexes
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def command_of(pid: int) -> str:
    """The command line of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def runs(pid: int) -> bool:
    """Whether a process of this id is there and no zombie; it gets a moment to go."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return False
        except (ProcessLookupError, FileNotFoundError):
            return False
        time.sleep(0.02)
    return True
