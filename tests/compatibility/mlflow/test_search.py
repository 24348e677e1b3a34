"""The 88 recorded searches of runs find the same runs, or are refused in the same words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.compatibility.mlflow.recorded import exchanges
from tests.compatibility.mlflow.test_errors import said

from driftloop_kit.testing import ServiceProcess

pytestmark = pytest.mark.stack
CASES = exchanges("mlflow_runs_search.jsonl")
# Ids of the recording that stand in a filter.
RECORDED_IDS = {"c9d4bb675bc444bb937b9bde7a695405": "run0", "32a692fbebb04afba471c27348d84e19": "run1"}
# Sorted by an id that is made anew each time: which run comes first says nothing.
BY_ID = ('{"order_by": ["run_id"]}', '{"order_by": ["artifact_uri"]}')


class Runs:
    """The five runs of the recording."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=f"{url}/api/2.0/mlflow/", timeout=10)
        self.experiment = self.call("experiments/create", {"name": "search"})["experiment_id"]
        self.ids = {f"run{number}": self.made(number) for number in range(5)}

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(path, json=body)
        assert answer.status_code == httpx.codes.OK, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def made(self, number: int) -> str:
        start = {"start_time": 1_700_000_000_000 + number, "user_id": f"u{number % 2}", "run_name": f"run{number}"}
        run: str = self.call("runs/create", {"experiment_id": self.experiment} | start)["run"]["info"]["run_id"]
        values = {"loss": number / 10, "a b": number}
        self.call(
            "runs/log-batch",
            {
                "run_id": run,
                "metrics": [{"key": key, "value": value, "timestamp": 1} for key, value in values.items()],
                "params": [{"key": "lr", "value": str(number / 10)}],
                "tags": [{"key": "k", "value": f"v{number}"}] if number else [],
            },
        )
        if number == 0:
            dataset = {"name": "ds", "digest": "dg", "source_type": "local", "source": "s"}
            context = [{"key": "mlflow.data.context", "value": "train"}]
            self.call("runs/log-inputs", {"run_id": run, "datasets": [{"tags": context, "dataset": dataset}]})
        return run


@pytest.fixture(scope="module")
def runs(registry: ServiceProcess) -> Iterator[Runs]:
    runs = Runs(registry.url)
    yield runs
    runs.http.close()


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{n} {json.dumps(CASES[n]['rq'])[:80]}")
def test_a_recorded_search_finds_what_the_stock_server_found(runs: Runs, number: int) -> None:
    case = CASES[number]
    text = json.dumps({"experiment_ids": [runs.experiment]} | case["rq"])
    for recorded, name in RECORDED_IDS.items():
        text = text.replace(recorded, runs.ids[name])
    answer = runs.http.post("runs/search", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == case["st"], answer.text
    if case["st"] != httpx.codes.OK:
        # One of stock's texts lacks its last quote.
        stock = case | {"message": case["message"] + "'" * case["message"].endswith("'IS NULL'}")}
        assert said(answer.json()) == said(stock)
        return
    found = [run["info"]["run_name"] for run in answer.json().get("runs", [])]
    if json.dumps(case["rq"]) in BY_ID:
        assert [runs.ids[name] for name in found] == sorted(runs.ids.values())
        return
    assert found == case["runs"]
    assert answer.json().get("next_page_token") == case.get("next_page_token")
