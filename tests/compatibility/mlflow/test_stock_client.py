"""The stock `mlflow` client, unpatched, against the registry as it ships."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

from driftloop_kit.testing import ServiceProcess

pytestmark = pytest.mark.stack


@pytest.fixture
def client(registry: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A client as people have it; the fluent API speaks to the same address."""
    # One answer is enough: a client that repeats hides what was answered first.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri(registry.url)
    mlflow.set_registry_uri(registry.url)
    yield MlflowClient(registry.url, registry.url)
    while mlflow.active_run():
        mlflow.end_run()


def a_problem(rows: int = 200) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    features = rng.normal(size=(rows, 3))
    return features, (features[:, 0] + 0.3 * rng.normal(size=rows) > 0).astype(int)


def test_the_default_experiment_is_there_from_the_start(client: MlflowClient) -> None:
    experiment = client.get_experiment("0")
    assert (experiment.name, experiment.lifecycle_stage) == ("Default", "active")


def test_a_run_is_tracked_as_the_fluent_api_does_it(client: MlflowClient) -> None:
    mlflow.set_experiment("fluent")
    with mlflow.start_run(run_name="r1") as run:
        mlflow.log_param("lr", "0.1")
        mlflow.log_params({"depth": 3, "kind": "tree"})
        mlflow.log_metrics({"acc": 0.9, "f1": 0.8}, step=2)
        mlflow.log_metric("acc", 0.95, step=3)
        mlflow.set_tag("team", "ops")
        mlflow.log_dict({"x": 1}, "d.json")
        mlflow.log_text("hi", "notes/a.txt")
        rows = np.array([[1.0], [2.0]])
        mlflow.log_input(mlflow.data.from_numpy(rows, source="s3://bucket/x"), context="training")
    found = client.get_run(run.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "r1"
    assert found.data.metrics == {"acc": 0.95, "f1": 0.8}
    assert found.data.params == {"lr": "0.1", "depth": "3", "kind": "tree"}
    assert found.data.tags["team"] == "ops"
    (given,) = found.inputs.dataset_inputs
    assert given.tags[0].value == "training"
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "acc")] == [(2, 0.9), (3, 0.95)]
    assert sorted(file.path for file in client.list_artifacts(run.info.run_id)) == ["d.json", "notes"]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "notes")] == ["notes/a.txt"]
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/d.json") == {"x": 1}
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/a.txt") == "hi"


def test_nested_runs_know_their_parent(client: MlflowClient) -> None:
    mlflow.set_experiment("nested")
    with mlflow.start_run() as parent, mlflow.start_run(run_name="child", nested=True) as child:
        pass
    assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_autologging_of_scikit_learn_leaves_params_and_metrics(client: MlflowClient) -> None:
    mlflow.set_experiment("autolog")
    mlflow.sklearn.autolog(log_models=False)
    try:
        with mlflow.start_run() as run:
            LogisticRegression(C=0.5).fit(*a_problem())
    finally:
        mlflow.sklearn.autolog(disable=True)
    found = client.get_run(run.info.run_id).data
    assert found.params["C"] == "0.5"
    assert found.metrics["training_accuracy_score"] > 0.8
    assert found.tags["estimator_name"] == "LogisticRegression"


def test_autologging_logs_models_too_and_their_metrics(client: MlflowClient) -> None:
    experiment = mlflow.set_experiment("autolog-models")
    mlflow.sklearn.autolog()
    try:
        LogisticRegression().fit(*a_problem())
    finally:
        mlflow.sklearn.autolog(disable=True)
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert model.status == "READY"
    assert {metric.key for metric in model.metrics or []} >= {"training_accuracy_score"}
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.outputs.model_outputs[0].model_id == model.model_id


def test_a_logged_model_is_registered_aliased_and_loaded_again(client: MlflowClient) -> None:
    features, target = a_problem()
    model = LogisticRegression().fit(features, target)
    mlflow.set_experiment("register")
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(model, name="model", registered_model_name="fraud", pip_requirements=["scikit-learn"])
    version = client.get_model_version("fraud", "1")
    assert version.run_id == run.info.run_id
    client.set_registered_model_alias("fraud", "champion", "1")
    loaded = mlflow.pyfunc.load_model("models:/fraud@champion")
    assert (loaded.predict(features) == model.predict(features)).all()
    assert client.get_model_version_by_alias("fraud", "champion").version == "1"
    client.delete_registered_model_alias("fraud", "champion")
    with pytest.raises(MlflowException, match="alias champion not found"):
        client.get_model_version_by_alias("fraud", "champion")


def test_runs_are_found_by_what_they_logged(client: MlflowClient) -> None:
    experiment = client.create_experiment("search", tags={"a": "b"})
    for number, loss in enumerate((0.1, 0.2, 0.3)):
        run = client.create_run(experiment, run_name=f"r{number}", start_time=1_700_000_000_000 + number)
        client.log_batch(
            run.info.run_id,
            metrics=[Metric("loss", loss, 1_700_000_000_000, 0)],
            params=[Param("lr", str(loss))],
            tags=[RunTag("kind", f"k{number}")],
        )
    found = client.search_runs(
        [experiment], "metrics.loss < 0.3 and params.lr != '0.1'", order_by=["metrics.loss DESC"]
    )
    assert [run.info.run_name for run in found] == ["r1"]
    frame = mlflow.search_runs([experiment], "tags.kind LIKE 'k%'", order_by=["metrics.loss DESC"])
    assert list(frame["metrics.loss"]) == [0.3, 0.2, 0.1]
    first = client.search_runs([experiment], max_results=2, order_by=["start_time ASC"])
    second = client.search_runs([experiment], max_results=2, order_by=["start_time ASC"], page_token=first.token)
    assert [run.info.run_name for run in [*first, *second]] == ["r0", "r1", "r2"]
    (only,) = client.search_experiments(filter_string="name = 'search' AND tags.a = 'b'")
    assert only.experiment_id == experiment


def test_runs_and_experiments_are_deleted_and_restored(client: MlflowClient) -> None:
    experiment = client.create_experiment("deleted")
    run = client.create_run(experiment)
    client.delete_run(run.info.run_id)
    assert client.search_runs([experiment]) == []
    assert len(client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)) == 1
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_metric(run.info.run_id, "m", 1.0)
    client.restore_run(run.info.run_id)
    client.delete_experiment(experiment)
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    client.restore_experiment(experiment)
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "active"
    client.rename_experiment(experiment, "renamed")
    assert client.get_experiment_by_name("renamed").experiment_id == experiment


def test_what_json_can_not_say_comes_back_as_mlflow_does(client: MlflowClient) -> None:
    run = client.create_run("0")
    for step, value in enumerate((float("nan"), float("inf"), float("-inf"))):
        client.log_metric(run.info.run_id, "odd", value, step=step)
    nan, high, low = (metric.value for metric in client.get_metric_history(run.info.run_id, "odd"))
    assert np.isnan(nan) or np.isnan(high) or np.isnan(low)
    assert {1.7976931348623157e308, -1.7976931348623157e308} <= {nan, high, low}


def test_a_registered_model_lives_as_people_expect(client: MlflowClient) -> None:
    client.create_registered_model("m1", tags={"a": "b"}, description="d")
    client.create_model_version("m1", "s3://bucket/x", tags={"v": "1"}, description="first")
    client.create_model_version("m1", "s3://bucket/y")
    client.set_model_version_tag("m1", "1", "k", "v")
    client.update_model_version("m1", "1", description="new")
    client.transition_model_version_stage("m1", "1", "staging")
    assert [v.version for v in client.get_latest_versions("m1", ["Staging"])] == ["1"]
    assert client.get_model_version("m1", "1").tags == {"v": "1", "k": "v"}
    assert client.get_model_version_download_uri("m1", "2") == "s3://bucket/y"
    assert [v.version for v in client.search_model_versions("name = 'm1'")] == ["1", "2"]
    assert [m.name for m in client.search_registered_models("name LIKE 'm1%' AND tags.a = 'b'")] == ["m1"]
    client.set_registered_model_alias("m1", "best", "2")
    client.rename_registered_model("m1", "m2")
    assert client.get_registered_model("m2").aliases == {"best": "2"}
    client.delete_model_version("m2", "2")
    assert client.create_model_version("m2", "s3://bucket/z").version == "3"
    client.delete_registered_model("m2")
    with pytest.raises(MlflowException, match="Registered Model with name=m2 not found"):
        client.get_registered_model("m2")


def test_a_prompt_is_registered_and_found_by_its_alias(client: MlflowClient) -> None:
    mlflow.genai.register_prompt(name="greeting", template="Hi {{x}}")
    mlflow.genai.set_prompt_alias("greeting", "prod", 1)
    assert mlflow.genai.load_prompt("prompts:/greeting@prod").template == "Hi {{x}}"
    assert "greeting" not in [model.name for model in client.search_registered_models()]


def test_a_large_file_goes_in_and_comes_back_the_same(client: MlflowClient, tmp_path: Path) -> None:
    # Larger than any body that the other routes take, so it must be a stream of its own.
    content = np.random.default_rng(1).bytes(24 * 2**20)
    (tmp_path / "model.bin").write_bytes(content)
    run = client.create_run("0")
    client.log_artifact(run.info.run_id, str(tmp_path / "model.bin"), "deep/er")
    fetched = client.download_artifacts(run.info.run_id, "deep/er/model.bin", str(tmp_path / ".."))
    assert Path(fetched).read_bytes() == content


def test_bytes_that_changed_on_the_disk_are_never_handed_out(client: MlflowClient, registry: ServiceProcess) -> None:
    run = client.create_run("0")
    client.log_text(run.info.run_id, "as it was", "a.txt")
    flip_one_bit(registry.folder / "artifacts", b"as it was")
    with pytest.raises(MlflowException):
        client.download_artifacts(run.info.run_id, "a.txt")
    path = run.info.artifact_uri.removeprefix("mlflow-artifacts:/") + "/a.txt"
    answer = httpx.get(f"{registry.url}/api/2.0/mlflow-artifacts/artifacts/{path}")
    assert (answer.status_code, answer.json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert "sha256" not in answer.text


def flip_one_bit(store: Path, content: bytes) -> None:
    (blob,) = [path for path in store.rglob("*") if path.is_file() and path.read_bytes() == content]
    blob.write_bytes(bytes([content[0] ^ 1]) + content[1:])
