"""The HTTP doors, without a socket: what goes in, what comes out, and every kind of bad request."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from driftloop_bus.errors import Refused
from driftloop_models import Encoder, Linear, TableModel, save
from driftloop_models.fields import NumberField
from serving.api.hot import HotRoutes
from serving.api.repository import routes
from serving.testing import FEATURES, Bench, a_declaration, linear_model

BODY: dict[str, Any] = {"features": {"wind": 3.0, "origin": "EWR"}, "prediction_id": "p1"}
NUMBERS = {"a": "number", "b": "number"}


class Door(httpx.AsyncClient):
    """A client of the app over a bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.ready = True
        app = FastAPI()
        app.include_router(routes(bench.serving, bench.shelf, lambda: self.ready))
        app.add_exception_handler(Refused, _said)
        hot = HotRoutes(bench.ticks, app, lambda: self.ready)
        super().__init__(transport=httpx.ASGITransport(app=hot), base_url="http://serving")


async def _said(request: Any, error: Any) -> JSONResponse:
    return JSONResponse({"error": error.message}, error.status)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with Bench().open() as bench:
        await bench.declare(a_declaration())
        challenger = await bench.served("2", linear_model(-1.0))
        await bench.deploy(await bench.served("1", linear_model(1.0, classes=(0, 1))), challengers=[challenger])
        await bench.settled()
        async with Door(bench) as client:
            yield client


def tensor(name: str, datatype: str, data: list[Any], **parameters: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data, "parameters": parameters}


WIND, ORIGIN = tensor("wind", "FP64", [3.0, 4.0]), tensor("origin", "BYTES", ["EWR", "JFK"])


async def infer(door: Door, body: Any, path: str = "/v2/models/late/infer", **more: Any) -> httpx.Response:
    return await door.post(path, json=body, **more)


async def test_predict_answers_with_id_version_prediction_and_score(door: Door) -> None:
    answered = await door.post("/predict/late", json=BODY)
    assert answered.status_code == 200
    assert answered.json() == {
        "prediction_id": "p1",
        "model": "late",
        "version": "1",
        "prediction": 1,
        "score": pytest.approx(1 / (1 + np.exp(-1.3))),
    }
    assert (await door.post("/predict/late", json=BODY)).content == answered.content
    assert len(door.bench.spool.of("champion")) == 1


async def test_an_id_is_made_where_none_is_given(door: Door) -> None:
    first, second = [(await door.post("/predict/late", json={"features": BODY["features"]})).json() for _ in "ab"]
    assert first["prediction_id"] < second["prediction_id"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "no JSON"),
        (b"", 400, "no JSON"),
        (b"[" * 100_000, 422, "Expected `object`"),
        (b'{"features": {"wind": NaN, "origin": "EWR"}}', 400, "no JSON"),
        (b'{"features": {"wind": 1e999, "origin": "EWR"}}', 422, "out of range"),
        (b'{"features": {"wind": ' + b"[" * 100_000, 400, "nested"),
        (b"\xff\xfe", 400, "no JSON"),
        (b'{"features": {"wind": "3", "origin": "EWR"}}', 422, "wind: given a string, declared number"),
        (b'{"features": {"wind": 3}}', 422, "origin: given nothing, declared category"),
        (b'{"features": {"wind": 3, "origin": "EWR", "x": 1}}', 422, "x: given a number, declared nowhere"),
        (b'{"features": {}, "time": "2013-06-19T09:00:00"}', 422, "$.time"),
        (b'{"features": {}, "prediction_id": ""}', 422, "$.prediction_id"),
        (b'{"feature": {}}', 422, "feature"),
        (b'{"features": {"wind": 1, "origin": "EWR"}, "keys": {"a": [1]}}', 422, "$.keys"),
    ],
)
async def test_a_bad_request_gets_a_clear_answer(door: Door, body: bytes, status: int, said: str) -> None:
    answered = await door.post("/predict/late", content=body)
    assert answered.status_code == status
    assert said in answered.json()["error"]
    assert door.bench.spool.events == []


async def test_an_unknown_model_is_404_and_one_that_is_not_loaded_says_when_to_come_again(door: Door) -> None:
    assert (await door.post("/predict/nope", json=BODY)).json() == {"error": "unknown model 'nope'"}
    await door.bench.declare(a_declaration("later"))
    answered = await door.post("/predict/later", json=BODY)
    assert (answered.status_code, answered.headers["retry-after"]) == (503, "1")


async def test_before_everything_was_read_no_model_is_called_unknown(door: Door) -> None:
    door.ready = False
    answered = await door.post("/predict/nope", json=BODY)
    assert (answered.status_code, answered.headers["retry-after"]) == (503, "1")


async def test_infer_answers_prediction_and_score_of_every_row(door: Door) -> None:
    answered = await infer(door, {"id": "r1", "inputs": [WIND, ORIGIN], "model_name": "ignored"})
    assert answered.status_code == 200, answered.text
    body = answered.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("late", "1", "r1")
    assert answered.headers["x-prediction-id"] == "r1"
    prediction, score = body["outputs"]
    assert prediction == {"name": "prediction", "datatype": "INT64", "shape": [2], "data": [1, 1]}
    assert score["data"] == pytest.approx([1 / (1 + np.exp(-1.3)), 1 / (1 + np.exp(-0.4))])
    assert [event.data.prediction_id for event in door.bench.spool.events] == ["r1/0", "r1/1"]


async def test_a_named_version_answers(door: Door) -> None:
    answered = await infer(door, {"inputs": [WIND, ORIGIN]}, "/v2/models/late/versions/2/infer")
    assert answered.json()["model_version"] == "2"
    answered = await infer(door, {"inputs": [WIND, ORIGIN]}, "/v2/models/late/versions/9/infer")
    assert (answered.status_code, answered.json()) == (404, {"error": "unknown version '9' of model 'late'"})


async def test_only_the_outputs_that_are_named_come_in_their_order(door: Door) -> None:
    asked = {"inputs": [WIND, ORIGIN], "outputs": [{"name": "score"}, {"name": "prediction"}]}
    names = [one["name"] for one in (await infer(door, asked)).json()["outputs"]]
    assert names == ["score", "prediction"]


async def test_binary_tensors_come_and_go_after_the_json(door: Door) -> None:
    strings = b"\x03\x00\x00\x00EWR\x03\x00\x00\x00JFK"
    inputs = [
        {"name": "wind", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}},
        {"name": "origin", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(strings)}},
    ]
    head = json.dumps({"id": "r1", "inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    whole = head + np.array([3, 4], "<f4").tobytes() + strings
    headers = {"inference-header-content-length": str(len(head))}
    answered = await door.post("/v2/models/late/infer", content=whole, headers=headers)
    assert answered.headers["content-type"] == "application/octet-stream"
    size = int(answered.headers["inference-header-content-length"])
    outputs = json.loads(answered.content[:size])["outputs"]
    assert [one["parameters"]["binary_data_size"] for one in outputs] == [16, 16]
    tail = answered.content[size:]
    assert np.frombuffer(tail[:16], "<i8").tolist() == [1, 1]
    zipped = gzip.compress(whole)
    headers |= {"content-encoding": "gzip"}
    again = await door.post("/v2/models/late/infer", content=zipped, headers=headers)
    assert again.content == answered.content
    deflated = await door.post(
        "/v2/models/late/infer", content=zlib.compress(whole), headers=headers | {"content-encoding": "deflate"}
    )
    assert deflated.content == answered.content


async def test_a_large_answer_is_compressed_where_the_caller_takes_it(door: Door) -> None:
    asked = {"inputs": [tensor("wind", "FP64", [1.0] * 300), tensor("origin", "BYTES", ["EWR"] * 300)]}
    answered = await infer(door, asked, headers={"accept-encoding": "gzip"})
    assert answered.headers["content-encoding"] == "gzip"
    assert len(answered.json()["outputs"][0]["data"]) == 300
    plain = await infer(door, asked, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


async def test_parameters_name_entity_time_and_keys_of_every_row(door: Door) -> None:
    parameters = {
        "entity": '["AA1", "AA2"]',
        "time": "2013-06-19T09:00:00Z",
        "keys": '[{"tailnum": "N1"}, {"tailnum": "N2"}]',
    }
    answered = await infer(door, {"inputs": [WIND, ORIGIN], "parameters": parameters})
    assert answered.status_code == 200, answered.text
    assert [event.data.entity for event in door.bench.spool.events] == ["AA1", "AA2"]
    assert [event.data.keys for event in door.bench.spool.events] == [{"tailnum": "N1"}, {"tailnum": "N2"}]
    assert {event.time.isoformat() for event in door.bench.spool.events} == {"2013-06-19T09:00:00+00:00"}


async def test_a_regression_answers_with_its_value_and_several_classes_with_each_score(door: Door) -> None:
    encoder = Encoder("one_hot", (NumberField("wind", "number", fill=0.0, center=0.0, scale=1.0, flagged=False),))
    regression = TableModel(encoder, Linear(np.array([[2.0]]), np.ones(1)), "regression")
    classes = Linear(np.array([[0.0], [1.0], [2.0]]), np.zeros(3))
    models = {"delay": regression, "kind": TableModel(encoder, classes, "multiclass", ("a", "b", "c"))}
    for name, model in models.items():
        await door.bench.declare(a_declaration(name, features={"wind": "number"}, segments=[], task=model.task))
        await door.bench.deploy(await door.bench.served("1", save(model)), model=name)
    await door.bench.settled()
    said = {
        name: (await infer(door, {"inputs": [WIND]}, f"/v2/models/{name}/infer")).json()["outputs"] for name in models
    }
    prediction, score = said["delay"]
    assert (prediction["datatype"], prediction["data"], score["data"]) == ("FP64", [7.0, 9.0], [7.0, 9.0])
    prediction, score = said["kind"]
    assert (prediction["datatype"], prediction["data"]) == ("BYTES", ["c", "c"])
    assert (score["shape"], len(score["data"])) == ([2, 3], 6)
    assert (await door.get("/v2/models/kind")).json()["outputs"][1]["shape"] == [-1, 3]
    kept = door.bench.spool.events[-1].data.score
    assert isinstance(kept, list)
    assert len(kept) == 3


async def test_a_model_of_numbers_alone_takes_one_tensor_flat_or_nested(door: Door) -> None:
    await door.bench.declare(a_declaration("sum", features=NUMBERS, segments=[]))
    await door.bench.deploy(await door.bench.served("1", linear_model(1.0)), model="sum")
    await door.bench.settled()
    for data in ([1, 2, 3, 4], [[1, 2], [3, 4]]):
        asked = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": data}]}
        assert (await infer(door, asked, "/v2/models/sum/infer")).status_code == 200
    assert [event.data.features for event in door.bench.spool.events[:2]] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    wrong = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    assert "[-1, 2]" in (await infer(door, wrong, "/v2/models/sum/infer")).json()["error"]


NAN = {"name": "wind", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}}


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([WIND], "origin: given nothing"),
        ([WIND, ORIGIN, tensor("x", "FP64", [1.0, 2.0])], "unknown input 'x'"),
        ([tensor("wind", "BYTES", ["a", "b"]), ORIGIN], "datatype BYTES, declared number"),
        ([tensor("wind", "FP64", [1.0, "b"]), ORIGIN], "no FP64"),
        ([tensor("wind", "INT8", [1, 200]), ORIGIN], "no INT8"),
        ([tensor("wind", "FP64", [True, 1.0]), ORIGIN], "no FP64"),
        ([tensor("wind", "FP99", [1.0, 2.0]), ORIGIN], "datatype 'FP99'"),
        ([{**WIND, "shape": [3]}, ORIGIN], "shape [3]"),
        ([{**WIND, "shape": [2, 2]}, ORIGIN], "2 elements"),
        ([{**WIND, "shape": [-1]}, ORIGIN], "shape"),
        ([tensor("wind", "FP64", [1.0]), ORIGIN], "rows"),
        ([WIND, WIND, ORIGIN], "given twice"),
        ([], "rows"),
        ([tensor("wind", "FP64", [1.0] * 1001), tensor("origin", "BYTES", ["EWR"] * 1001)], "1001 rows"),
        ([NAN, ORIGIN], "binary_data_size"),
    ],
)
async def test_a_bad_tensor_is_400_and_says_which(door: Door, inputs: list[Any], said: str) -> None:
    answered = await infer(door, {"inputs": inputs})
    assert answered.status_code == 400
    assert said in answered.json()["error"]


@pytest.mark.parametrize(
    ("headers", "body", "status", "said"),
    [
        ({"inference-header-content-length": "99999"}, b"{}", 400, "size of the body"),
        ({"inference-header-content-length": "-1"}, b"{}", 400, "must be a number"),
        ({"content-encoding": "br"}, b"{}", 415, "allowed: gzip, deflate"),
        ({"content-encoding": "gzip"}, b"{}", 400, "is not gzip"),
        ({"content-encoding": "gzip"}, gzip.compress(b"{}", mtime=0)[:-9], 400, "cut short"),
        ({"content-encoding": "gzip"}, gzip.compress(b" " * (4 << 20), mtime=0), 413, "when it is opened"),
        ({}, b'{"inputs": [], "outputs": [{"name": 7}]}', 400, "$.outputs"),
        ({}, b'{"parameters": {"x": ' + b"[" * 50_000, 400, "nested"),
    ],
)
async def test_a_bad_body_is_told_apart(
    door: Door, headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    answered = await door.post("/v2/models/late/infer", content=body, headers=headers)
    assert answered.status_code == status
    assert said in answered.json()["error"]


async def test_a_nan_in_a_binary_tensor_is_refused_by_name(door: Door) -> None:
    origin = {**ORIGIN, "shape": [1], "data": ["EWR"]}
    wind = {"name": "wind", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [wind, origin]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    answered = await door.post("/v2/models/late/infer", content=head + np.float64("nan").tobytes(), headers=headers)
    assert answered.status_code == 400
    assert "wind: given a number that is not finite" in answered.json()["error"]
    extra = await door.post("/v2/models/late/infer", content=head + bytes(9), headers=headers)
    assert "account for 8" in extra.json()["error"]


async def test_metadata_names_every_declared_feature_and_both_outputs(door: Door) -> None:
    body = (await door.get("/v2/models/late")).json()
    assert body["versions"] == ["1", "2"]
    assert body["inputs"] == [
        {"name": "wind", "datatype": "FP64", "shape": [-1]},
        {"name": "origin", "datatype": "BYTES", "shape": [-1]},
    ]
    assert [one["name"] for one in body["outputs"]] == ["prediction", "score"]
    assert list(FEATURES) == [one["name"] for one in body["inputs"]]


async def test_health_says_what_the_service_says(door: Door) -> None:
    assert (await door.get("/v2/health/live")).json() == {"live": True}
    assert (await door.get("/v2/health/ready")).json() == {"live": True, "ready": True}
    door.ready = False
    assert (await door.get("/v2/health/ready")).status_code == 503
    assert (await door.get("/v2")).json()["extensions"] == ["binary_tensor_data", "model_repository"]


async def test_the_index_says_what_is_loaded_and_why_not(door: Door) -> None:
    await door.bench.deploy(await door.bench.served("3", b"nothing"), model="broken")
    await door.bench.settled()
    rows = (await door.post("/v2/repository/index", content=b"")).json()
    assert [(row["name"], row["version"], row["state"]) for row in rows] == [
        ("broken", "3", "UNAVAILABLE"),
        ("late", "1", "READY"),
        ("late", "2", "READY"),
    ]
    assert "no zip archive" in rows[0]["reason"]
    ready = (await door.post("/v2/repository/index", json={"ready": True})).json()
    assert {row["state"] for row in ready} == {"READY"}


async def test_what_is_loaded_follows_deployments_and_nothing_else(door: Door) -> None:
    assert (await door.post("/v2/repository/models/late/load", json={})).status_code == 200
    assert (await door.post("/v2/repository/models/nope/load", json={})).status_code == 404
    assert (await door.post("/v2/repository/models/late/unload", json={})).status_code == 400
    assert (await door.get("/v2/models/late/ready")).json() == {"name": "late", "ready": True}
    await door.bench.declare(a_declaration("later"))
    assert (await door.get("/v2/models/later/ready")).status_code == 503
    assert (await door.get("/v2/models/nope/ready")).status_code == 404


def test_recorded_requests_of_stock_clients_are_read_as_they_were_meant() -> None:
    from serving.api.envelope import opened

    recordings = Path(__file__).parents[3] / "tests/compatibility/openinference/recordings/open_inference.jsonl"
    read = 0
    for line in recordings.read_text().splitlines():
        told = msgspec.json.decode(line)
        if not told.get("p", "").endswith("/infer") or "rq" not in told:
            continue
        json_part, tail = json.dumps(told["rq"], separators=(",", ":")).encode(), told.get("rq_tail_hex", "")
        length = told["h"].get("inference-header-content-length")
        if length is not None:
            assert len(json_part) == int(length)
        headers = [(b"inference-header-content-length", length.encode())] if length else []
        _, tensors = opened({"headers": headers}, json_part + bytes.fromhex(tail))
        assert set(tensors) == {one["name"] for one in told["rq"]["inputs"]}
        for one in told["rq"]["inputs"]:
            assert len(tensors[one["name"]][1]) == np.prod(one["shape"])
        read += 1
    assert read >= 8
