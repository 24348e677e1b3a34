"""The doors that take things in, and what their users ask of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop
from tests.load import ingest_world, soak_world
from tests.load.wire import request

from driftloop_kit.testing import ServiceProcess, running

PUSH: Final = "/write-to-online-store"
MLFLOW: Final = "/api/2.0/mlflow/runs"
SITES: Final = 50
RUNS: Final = 16
METRICS: Final = 20


@dataclass(frozen=True, slots=True)
class Door:
    """One path of a service that is up."""

    service: ServiceProcess
    path: str
    bodies: list[dict[str, Any]]

    @property
    def requests(self) -> list[str]:
        """As they go over the wire."""
        return [request(self.path, json.dumps(body).encode()).decode() for body in self.bodies]


@contextmanager
def doors(kafka: str, folder: Path, database: Callable[[str], str]) -> Iterator[dict[str, Door]]:
    """Serving predicts, the feature store takes pushes, the registry logs metrics; the monitor has no intake by HTTP."""
    uvloop.run(_declared(kafka, folder))
    with ExitStack() as stack:
        serving = stack.enter_context(running("serving", kafka, folder))
        features = stack.enter_context(running("feature_store", kafka, folder, database("feature_store")))
        registry = stack.enter_context(running("registry", kafka, folder, database("registry")))
        model = ingest_world.MODELS[0]
        serving.until_page("/ready", lambda said: said["models"].get(model, {}).get("champion"))
        asked = [{"features": row} for row in ingest_world.ROWS[:SITES]]
        found = {
            "serving": Door(serving, f"/predict/{model}", asked),
            "feature_store": Door(features, PUSH, [_push(number) for number in range(SITES)]),
            "registry": Door(registry, f"{MLFLOW}/log-batch", [_metrics(run) for run in _runs(registry)]),
        }
        for door in found.values():
            # A view's declaration may be on its way yet.
            door.service.until(
                lambda door=door: door.service.post(door.path, door.bodies[0]).is_success, "taking things in"
            )  # type: ignore[misc]
        yield found


async def _declared(kafka: str, folder: Path) -> None:
    await soak_world.declared(kafka, folder)
    await ingest_world.declared(kafka, folder)


def _push(number: int) -> dict[str, Any]:
    sites = [f"s{number}-{row}" for row in range(5)]
    moment = datetime.now(UTC).isoformat()
    df = {"site": sites, "event_timestamp": [moment] * len(sites), "wind": [float(number)] * len(sites)}
    return {"feature_view_name": soak_world.VIEW, "df": df}


def _runs(registry: ServiceProcess) -> list[str]:
    made = [registry.post(f"{MLFLOW}/create", {"experiment_id": "0"}).json() for _ in range(RUNS)]
    return [one["run"]["info"]["run_id"] for one in made]


def _metrics(run_id: str) -> dict[str, Any]:
    now_ms = int(datetime.now(UTC).timestamp() * 1e3)
    metrics = [{"key": f"m{n}", "value": n / 7, "timestamp": now_ms, "step": 0} for n in range(METRICS)]
    return {"run_id": run_id, "metrics": metrics}
