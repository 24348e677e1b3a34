"""`runs/...`, `metrics/...`"""

import uuid
from typing import Any, Final

from registry.api.mlflow import paging, shapes
from registry.api.mlflow.batches import batch, metric, param_value, tag_value
from registry.api.mlflow.door import Call, Door
from registry.api.mlflow.experiments import VIEWS, as_experiment_id, experiment_id, tags
from registry.api.mlflow.given import Given
from registry.api.mlflow.names import invented
from registry.domain.search import RUNS
from registry.handlers.refused import invalid
from registry.handlers.runs import RUN_NAME
from registry.ports.tracking import Batch, Input, RunInfo

Json = dict[str, Any]
STATUSES: Final = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
MAX_RESULTS: Final = 50_000
DEFAULT_RESULTS: Final = 1_000
MAX_HISTORY: Final = 25_000


def run_id(given: Given) -> str:
    """`run_id`, or `run_uuid` as older clients say."""
    return given.text("run_id") or given.text("run_uuid") or given.needed("run_id")


async def create(door: Door, given: Given) -> Json:
    number, its_tags = experiment_id(given), tags(given, max_chars=None)
    name = given.text("run_name")
    tagged = its_tags.get(RUN_NAME)
    if name and tagged and name != tagged:
        raise invalid(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name='{name}', mlflow.runName='{tagged}')."
        )
    new_id = uuid.uuid4().hex
    name = name or tagged or invented(new_id)
    info = RunInfo(
        new_id, number, name, given.text("user_id") or "", "RUNNING", given.whole("start_time"), None, True, ""
    )
    its_tags = {key: tag_value(value) for key, value in its_tags.items()} | {RUN_NAME: name}
    return {"run": shapes.run(await door.tell(lambda room: room.runs.create(info, its_tags)))}


async def get(door: Door, given: Given) -> Json:
    wanted = run_id(given)
    return {"run": shapes.run(await door.ask(lambda room: room.runs.get(wanted)))}


async def update(door: Door, given: Given) -> Json:
    wanted, end_ms, name = run_id(given), given.whole("end_time"), given.text("run_name")
    status = given.text("status")
    known = status if status in STATUSES else None
    info = await door.tell(lambda room: room.runs.update(wanted, status=known, end_ms=end_ms, name=name or None))
    return {"run_info": shapes.run_info(info)}


async def delete(door: Door, given: Given) -> Json:
    wanted = run_id(given)
    await door.ask(lambda room: room.runs.set_active(wanted, False))
    return {}


async def restore(door: Door, given: Given) -> Json:
    wanted = run_id(given)
    await door.ask(lambda room: room.runs.set_active(wanted, True))
    return {}


async def log_metric(door: Door, given: Given) -> Json:
    wanted, point = run_id(given), metric(given)
    await door.tell(lambda room: room.runs.log(wanted, Batch(metrics=[point])))
    return {}


async def log_parameter(door: Door, given: Given) -> Json:
    wanted = run_id(given)
    params = {given.key(what="Param key"): param_value(given)}
    await door.tell(lambda room: room.runs.log(wanted, Batch(params=params), one_param=True))
    return {}


async def set_tag(door: Door, given: Given) -> Json:
    wanted = run_id(given)
    changed = {given.key(): tag_value(given.text("value") or "")}
    await door.tell(lambda room: room.runs.log(wanted, Batch(tags=changed)))
    return {}


async def delete_tag(door: Door, given: Given) -> Json:
    wanted, key = run_id(given), given.needed("key")
    await door.ask(lambda room: room.runs.delete_tag(wanted, key))
    return {}


async def log_batch(door: Door, given: Given) -> Json:
    wanted, logged = given.needed("run_id"), batch(given)
    await door.tell(lambda room: room.runs.log(wanted, logged))
    return {}


async def log_inputs(door: Door, given: Given) -> Json:
    wanted = given.needed("run_id")
    inputs = [_input(part) for part in given.parts("datasets", plain=True)]
    await door.ask(lambda room: room.runs.add_inputs(wanted, inputs, []))
    return {}


def _input(given: Given) -> Input:
    dataset = given.part("dataset").unplaced()
    return Input(
        name=dataset.needed("name", max_chars=500),
        digest=dataset.needed("digest", max_chars=36),
        source_type=dataset.needed("source_type"),
        source=dataset.needed("source", max_chars=65_535),
        schema=dataset.text("schema", max_chars=1_048_575),
        profile=dataset.text("profile", max_chars=16_777_215),
        tags={
            tag.needed("key", max_chars=255): tag.text("value", max_chars=500) or ""
            for tag in given.parts("tags", plain=True)
        },
    )


async def log_outputs(door: Door, given: Given) -> Json:
    wanted = given.needed("run_id")
    models = [(part.needed("model_id"), part.whole("step") or 0) for part in given.parts("models", needed=True)]
    await door.ask(lambda room: room.runs.add_outputs(wanted, models))
    return {}


async def history(door: Door, given: Given) -> Json:
    wanted, key = run_id(given), given.needed("metric_key")
    asked = paging.page(given.text("page_token"), min(given.whole("max_results") or MAX_HISTORY, MAX_HISTORY))
    points, token = paging.cut(await door.ask(lambda room: room.runs.history(wanted, key, asked)), asked)
    return shapes.without_empty(metrics=[shapes.metric(point) for point in points]) | token


async def search(door: Door, given: Given) -> Json:
    limit = given.whole("max_results")
    if limit is not None and limit > MAX_RESULTS:
        raise given.wrong("max_results", limit)
    if limit is not None and limit < 1:
        raise invalid(f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer")
    experiments = [as_experiment_id(number) for number in given.texts("experiment_ids")]
    wanted = paging.search(given.text("filter"), given.texts("order_by"), RUNS)
    asked = paging.page(given.text("page_token"), limit or DEFAULT_RESULTS)
    active = VIEWS.get(given.text("run_view_type") or "", True)
    found, more = await door.ask(lambda room: room.runs.search(experiments, wanted, active, asked))
    return shapes.without_empty(runs=[shapes.run(one) for one in found]) | paging.next_token(more, asked)


CALLS: Final[dict[tuple[str, str], Call]] = {
    ("POST", "runs/create"): create,
    ("GET", "runs/get"): get,
    ("POST", "runs/update"): update,
    ("POST", "runs/delete"): delete,
    ("POST", "runs/restore"): restore,
    ("POST", "runs/log-metric"): log_metric,
    ("POST", "runs/log-parameter"): log_parameter,
    ("POST", "runs/set-tag"): set_tag,
    ("POST", "runs/delete-tag"): delete_tag,
    ("POST", "runs/log-batch"): log_batch,
    ("POST", "runs/log-inputs"): log_inputs,
    ("POST", "runs/outputs"): log_outputs,
    ("POST", "runs/search"): search,
    ("GET", "metrics/get-history"): history,
}
