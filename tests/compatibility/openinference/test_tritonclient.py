"""The stock `tritonclient`, unmodified, against a running serving: what its users call, as they call it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from driftloop_artifacts import ArtifactStore
from driftloop_bus.testing import publish
from driftloop_contracts.control_plane import DeploymentChanged, ModelDeclared, ServedVersion
from serving.testing import FEATURES, NOON, a_declaration, an_event, linear_model
from serving.testing.process import ServingProcess

pytestmark = pytest.mark.stack

SCORES = [1 / (1 + np.exp(-1.3)), 1 / (1 + np.exp(-0.4))]


@dataclass(frozen=True)
class Served:
    """A running serving with two models: one of mixed features, one of numbers alone."""

    process: ServingProcess
    mixed: str
    numbers: str

    def client(self) -> triton.InferenceServerClient:
        return triton.InferenceServerClient(f"127.0.0.1:{self.process.port}")


@pytest.fixture(scope="module")
def served(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    suffix = uuid.uuid4().hex[:8]
    mixed, numbers = f"late-{suffix}", f"sum-{suffix}"
    with ServingProcess(kafka, tmp_path_factory.mktemp("serving")) as process:
        asyncio.run(_deploy(process, mixed, numbers))
        yield Served(process, mixed, numbers)


async def _deploy(process: ServingProcess, mixed: str, numbers: str) -> None:
    data = linear_model(1.0, classes=(0, 1))
    digest = str(await ArtifactStore.open(process.artifacts).put(data))
    version = ServedVersion(
        version="1", artifact_digest=digest, artifact_format="driftloop-table-model", features=FEATURES, since=NOON
    )
    of_numbers = {"features": {"wind": "number", "gust": "number"}, "segments": []}
    await publish(
        process.kafka,
        "registry",
        *(_declared(name, more) for name, more in ((mixed, {}), (numbers, of_numbers))),
        *(
            an_event(DeploymentChanged(model=name, revision=1, champion=version, reason="first"))
            for name in (mixed, numbers)
        ),
    )
    for name in (mixed, numbers):
        await process.eventually_serves(name, "1")


def _declared(name: str, more: dict[str, Any]) -> Any:
    document = a_declaration(name, **more)
    return an_event(ModelDeclared(model=name, document=document, digest="sha256:0", applied_by="ops"))


def inputs(binary: bool = True) -> list[triton.InferInput]:
    wind = triton.InferInput("wind", [2], "FP64")
    wind.set_data_from_numpy(np.array([3.0, 4.0]), binary_data=binary)
    origin = triton.InferInput("origin", [2], "BYTES")
    origin.set_data_from_numpy(np.array(["EWR", "JFK"], dtype=object), binary_data=binary)
    return [wind, origin]


def test_health_metadata_and_index(served: Served) -> None:
    with served.client() as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(served.mixed)
        assert client.is_model_ready(served.mixed, "1")
        assert not client.is_model_ready("nope")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data", "model_repository"]
        metadata = client.get_model_metadata(served.mixed)
        assert [one["name"] for one in metadata["inputs"]] == ["wind", "origin"]
        index = client.get_model_repository_index()
        assert {"name": served.mixed, "version": "1", "state": "READY", "reason": ""} in index
        client.load_model(served.mixed)
        with pytest.raises(InferenceServerException, match="follows its deployment"):
            client.unload_model(served.mixed)


@pytest.mark.parametrize("binary", [True, False])
def test_infer_with_the_clients_defaults_and_with_json(served: Served, binary: bool) -> None:
    with served.client() as client:
        result = client.infer(served.mixed, inputs(binary), request_id=f"abc-{binary}")
        assert result.get_response()["id"] == f"abc-{binary}"
        assert result.get_response()["model_version"] == "1"
        np.testing.assert_allclose(result.as_numpy("score"), SCORES)
        assert result.as_numpy("prediction").tolist() == [1, 1]


def test_infer_of_a_version_with_one_json_output(served: Served) -> None:
    with served.client() as client:
        outputs = [triton.InferRequestedOutput("score", binary_data=False)]
        result = client.infer(served.mixed, inputs(), model_version="1", outputs=outputs)
        np.testing.assert_allclose(result.as_numpy("score"), SCORES)
        assert result.as_numpy("prediction") is None


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_infer_compressed_both_ways(served: Served, algorithm: str) -> None:
    rows = 200
    with served.client() as client:
        x = triton.InferInput("x", [rows, 2], "FP32")
        x.set_data_from_numpy(np.tile(np.array([3.0, 1.0], dtype=np.float32), (rows, 1)))
        result = client.infer(
            served.numbers, [x], request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
        )
        np.testing.assert_allclose(result.as_numpy("score"), [1 / (1 + np.exp(-0.3))] * rows)


def test_what_is_wrong_comes_back_in_our_words(served: Served) -> None:
    with served.client() as client:
        with pytest.raises(InferenceServerException, match="unknown model 'nope'"):
            client.infer("nope", inputs())
        with pytest.raises(InferenceServerException, match="unknown version '7'"):
            client.infer(served.mixed, inputs(), model_version="7")
        with pytest.raises(InferenceServerException, match="origin: given nothing, declared category"):
            client.infer(served.mixed, inputs()[:1])
        with pytest.raises(InferenceServerException, match="unknown output 'y'"):
            client.infer(served.mixed, inputs(), outputs=[triton.InferRequestedOutput("y")])


def test_rows_have_entities_and_times(served: Served) -> None:
    with served.client() as client:
        parameters = {"entity": '["AA1", "AA2"]', "time": "2013-06-19T09:00:00Z", "keys": '{"tailnum": "N1"}'}
        result = client.infer(served.mixed, inputs(), parameters=parameters)
        np.testing.assert_allclose(result.as_numpy("score"), SCORES)


def test_the_recordings_are_there_for_those_who_have_no_client() -> None:
    recordings = Path(__file__).parent / "recordings" / "open_inference.jsonl"
    assert len(recordings.read_text().splitlines()) > 30
