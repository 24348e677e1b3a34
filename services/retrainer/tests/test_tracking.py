"""A training's run, by the stock client, in the real registry; and a registry that goes away in the middle."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from services.retrainer.tests.test_executor import CODE, Bench, train

from driftloop_contracts.loop import CandidateTrained
from driftloop_kit.schema import migrate
from driftloop_kit.testing import ServiceProcess, running
from driftloop_local.stack import LocalStack
from retrainer.executor import Executor

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def registry(stack: LocalStack, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    database = stack.create_service_database(f"registry_{uuid.uuid4().hex[:8]}")
    asyncio.run(migrate("registry", database.owner_url))
    with running("registry", kafka, tmp_path_factory.mktemp("registry"), database.login_url) as service:
        yield service


@pytest.mark.parametrize("autolog", [True, False])
async def test_the_run_has_what_the_fit_and_the_back_test_said(
    registry: ServiceProcess, tmp_path: Path, autolog: bool
) -> None:
    bench = Bench(tmp_path)
    bench.executor = Executor(bench.artifacts, CODE, registry.url, tmp_path / "tracked", autolog)
    candidate = await bench.trained()
    assert candidate.run_id is not None
    async with httpx.AsyncClient(base_url=registry.url, trust_env=False) as client:
        answer = await client.get("/api/2.0/mlflow/runs/get", params={"run_id": candidate.run_id})
    run = answer.json()["run"]
    params = {one["key"]: one["value"] for one in run["data"]["params"]}
    metrics = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert run["info"]["status"] == "FINISHED"
    assert params.get("C") == ("1.0" if autolog else None)  # the estimator's own
    assert ("training_log_loss" in metrics) == autolog
    assert params["dataset_digest"] == candidate.dataset_digest
    assert metrics["loss_to_hold"] == pytest.approx(candidate.backtest.loss_to_hold.mean)
    assert metrics["backtest_log_loss"] == pytest.approx(candidate.backtest.log_loss)


async def test_a_run_ends_as_failed_where_the_training_did(registry: ServiceProcess, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.executor = Executor(bench.artifacts, CODE, registry.url, tmp_path / "scratch")
    failed = await bench.failed("samples:raises")
    assert failed.kind == "raised"
    async with httpx.AsyncClient(base_url=registry.url, trust_env=False) as client:
        named = await client.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "lateness"})
        search = {"experiment_ids": [named.json()["experiment"]["experiment_id"]]}
        runs = (await client.post("/api/2.0/mlflow/runs/search", json=search)).json()["runs"]
    assert "FAILED" in {one["info"]["status"] for one in runs}


async def test_a_registry_that_dies_meanwhile_costs_the_run_and_not_the_candidate(
    registry: ServiceProcess, tmp_path: Path
) -> None:
    bench = Bench(tmp_path)
    bench.executor = Executor(bench.artifacts, CODE, registry.url, tmp_path / "tracked")
    began, go_on = tmp_path / "began", tmp_path / "go on"
    params = {"began": str(began), "go_on": str(go_on)}
    job = await bench.job(train=train("samples:waits", params=params))
    task = asyncio.create_task(bench.executor.run("job", job))
    async with asyncio.timeout(30):
        while not began.exists():  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.05)
    registry.kill()
    go_on.touch()
    candidate = CandidateTrained.model_validate(await task)
    assert candidate.backtest.loss_to_hold.n > 0
