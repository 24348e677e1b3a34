"""Every mistake that was recorded against a stock server gets the same status, the same code, the same words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from tests.compatibility.mlflow.recorded import exchanges, whole

from driftloop_kit.testing import ServiceProcess

pytestmark = pytest.mark.stack
CASES = exchanges("mlflow_errors.jsonl")
DATABASE_TEXT = re.compile(r"( Error: )?<database text, not to be copied>")


class Stock:
    """A registry with what the recorded requests speak of. Ids of the recording stand for ids of ours."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=10)
        self.ids: dict[str, str] = {}

    def post(self, path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        """A call of the set-up; it succeeds."""
        answer = self.http.request(method, f"/api/2.0/mlflow/{path}", json=body)
        assert answer.status_code == httpx.codes.OK, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def translated(self, text: str) -> str:
        """With our ids."""
        for recorded, ours in self.ids.items():
            text = text.replace(recorded, ours)
        return text


@pytest.fixture(scope="module")
def stock(registry: ServiceProcess) -> Iterator[Stock]:
    stock = Stock(registry.url)
    for name in ("e1", "e2", "e3", "e4"):
        stock.post("experiments/create", {"name": name})
    stock.post("experiments/delete", {"experiment_id": "3"})
    for recorded in (
        "b1a720229bfc4baf81d861d9200dbfa2",
        "a507e5e517aa47f0bf7d5878e9fdbc5b",
        "c9d4bb675bc444bb937b9bde7a695405",
    ):
        run = stock.post("runs/create", {"experiment_id": "1", "start_time": 1})["run"]["info"]["run_id"]
        stock.ids[recorded] = run
    first, second, _ = stock.ids.values()
    stock.post("runs/log-parameter", {"run_id": first, "key": "p", "value": ""})
    stock.post("runs/log-parameter", {"run_id": second, "key": "p", "value": "1"})
    for name in ("m1", "m1x", "s0", "s1", "s2", "cp"):
        stock.post("registered-models/create", {"name": name})
    for _ in range(2):
        stock.post("model-versions/create", {"name": "m1", "source": "s3://bucket/x"})
    model = stock.post("logged-models", {"experiment_id": "4", "name": "lm"})["model"]["info"]["model_id"]
    stock.ids["m-0e26d5d8db4c49319ae9a91ba1f6a493"] = model
    stock.http.put("/api/2.0/mlflow-artifacts/artifacts/1/x/artifacts/a/b.txt", content=b"x").raise_for_status()
    yield stock
    stock.http.close()


# Where we differ, and why: a piece of the exchange, our status, the reason.
DIFFERENT = (
    ("Unable to fetch model from model URI source", 404, "a caller's mistake is never 5xx: the client repeats that"),
    ("is not an Active stage", 400, "as above"),
    ("Cannot rename a non-active experiment", 400, "as above"),
    ("has no attribute 'bogus'", 400, "as above"),
    ("tags.zz+IS+NULL", 400, "as above"),
    ('"page_token": "zz"', 400, "as above"),
    ('runs/create", "rq": {}, "st": 400', 400, "stock answers with its database's words"),
    ("refers to a directory", 400, "stock has another shape here than anywhere else"),
    ("/get-artifact?", 404, "a private route of MLflow's web page: not spoken"),
    ("mlflow/nosuch", 404, "stock answers with a page"),
    ("405 Method Not Allowed", 405, "stock answers with a page"),
)


def case_id(case: dict[str, Any]) -> str:
    said = case["rs"]["message"] if isinstance(case["rs"], dict) and "message" in case["rs"] else str(case["rs"])
    return f"{case['m']} {case['p'].split('?')[0].rpartition('mlflow/')[2]}: {said[:60]}"


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{number} {case_id(CASES[number])}")
def test_a_mistake_is_answered_as_the_stock_server_does(stock: Stock, number: int) -> None:
    case = CASES[number]
    with in_its_state(stock, case):
        answer = ask(stock, case)
    ours = next((status for piece, status, _ in DIFFERENT if piece in json.dumps(case)), None)
    if ours is not None:
        assert (answer.status_code, set(answer.json())) == (ours, {"error_code", "message"}), answer.text
        return
    assert answer.status_code == case["st"], answer.text
    assert said(answer.json()) == said(json.loads(stock.translated(json.dumps(case["rs"]))))


@contextmanager
def in_its_state(stock: Stock, case: dict[str, Any]) -> Iterator[None]:
    """What the request speaks of is deleted, where the answer says so."""
    text = str(case["rs"].get("message", "")) if isinstance(case["rs"], dict) else ""
    run = re.match(r"The run (\w+) must be in the 'active' state", text)
    if run:
        stock.post("runs/delete", {"run_id": stock.ids[run[1]]})
        yield
        stock.post("runs/restore", {"run_id": stock.ids[run[1]]})
        return
    if case["m"] == "DELETE" and text == "Registered Model with name=m1x not found":
        stock.post("registered-models/delete", {"name": "m1x"}, method="DELETE")
    if case["m"] == "GET" and re.fullmatch(r"Logged model with ID 'm-0e\w+' not found\.", text):
        model = stock.ids["m-0e26d5d8db4c49319ae9a91ba1f6a493"]
        stock.post(f"logged-models/{model}", {}, method="DELETE")
    yield


def ask(stock: Stock, case: dict[str, Any]) -> httpx.Response:
    """The recorded request, with our ids."""
    path = stock.translated(case["p"])
    if "rq" not in case:
        # The target as it was: a client that tidies paths would hide what is asked here.
        return stock.http.request(case["m"], path, extensions={"target": path.encode()})
    body = case["rq"]
    if isinstance(body, str):
        return stock.http.request(
            case["m"], path, content=body, headers={"content-type": "application/x-www-form-urlencoded"}
        )
    content = stock.translated(json.dumps(whole(body)))
    headers = {} if "Content-Type header is missing" in json.dumps(case["rs"]) else {"content-type": "application/json"}
    return stock.http.request(case["m"], path, content=content, headers=headers)


def said(answer: dict[str, Any]) -> dict[str, Any]:
    """What a client's code and its user see; sets in a text have no order."""
    text = str(answer.get("message", answer.get("detail")))
    text = DATABASE_TEXT.sub("", text)
    braces = re.search(r"\{('[^{}]*')\}", text)
    names = sorted(braces[1].split(", ")) if braces else []
    return {
        "error_code": answer.get("error_code"),
        "message": text.replace(braces[0], "{}") if braces else text,
        "of": names,
    }
