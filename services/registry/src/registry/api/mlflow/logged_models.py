"""`logged-models/...`"""

import uuid
from typing import Any, Final

from registry.api.mlflow import paging, shapes
from registry.api.mlflow.batches import MAX_PARAM_CHARS
from registry.api.mlflow.door import Call, Door, now_ms
from registry.api.mlflow.experiments import as_experiment_id, experiment_id
from registry.api.mlflow.given import Given
from registry.api.mlflow.names import invented
from registry.domain.search import LOGGED_MODELS, BadSearch, Order, Search, parse_order
from registry.handlers.refused import invalid
from registry.ports.tracking import LoggedModel

Json = dict[str, Any]
FORBIDDEN: Final = ("/", ":", ".", "%", '"', "'")
STATUSES: Final = ("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED")
DEFAULT_RESULTS: Final = 100
MAX_RESULTS: Final = 1_000


def _values(given: Given, name: str, max_chars: int | None = None) -> dict[str, str]:
    return {part.key(): (part.text("value") or "")[:max_chars] for part in given.parts(name)}


async def create(door: Door, given: Given) -> Json:
    number, name = experiment_id(given), given.text("name")
    if name is not None and (not name or any(sign in name for sign in FORBIDDEN)):
        raise invalid(
            f"Invalid model name ({name!r}) provided. Model name must be a non-empty string and cannot contain the following "
            f"characters: {FORBIDDEN}"
        )
    seed, at_ms = uuid.uuid4().hex, now_ms()
    model = LoggedModel(
        model_id=f"m-{seed}",
        experiment_id=number,
        name=name or invented(seed),
        model_type=given.text("model_type") or "",
        source_run_id=given.text("source_run_id") or "",
        status="LOGGED_MODEL_PENDING",
        created_ms=at_ms,
        updated_ms=at_ms,
        artifact_root="",
        params=_values(given, "params", MAX_PARAM_CHARS),
        tags=_values(given, "tags"),
    )
    return {"model": shapes.logged_model(await door.ask(lambda room: room.logged.create(model)))}


async def get(door: Door, given: Given) -> Json:
    model_id = given.needed("model_id")
    return {"model": shapes.logged_model(await door.ask(lambda room: room.logged.get(model_id)))}


async def finalize(door: Door, given: Given) -> Json:
    model_id, status = given.needed("model_id"), given.needed("status")
    if status not in STATUSES:
        raise invalid(f"Invalid model status: {status}. Expected statuses: {', '.join(STATUSES)}")
    model = await door.ask(lambda room: room.logged.finalize(model_id, status, now_ms()))
    return {"model": shapes.logged_model(model)}


async def set_tags(door: Door, given: Given) -> Json:
    model_id, tags = given.needed("path_model_id"), _values(given, "tags")
    await door.ask(lambda room: room.logged.set_tags(model_id, tags))
    return {}


async def delete_tag(door: Door, given: Given) -> Json:
    model_id, key = given.needed("path_model_id"), given.needed("path_key")
    await door.ask(lambda room: room.logged.delete_tag(model_id, key))
    return {}


async def add_params(door: Door, given: Given) -> Json:
    model_id, params = given.needed("model_id"), _values(given, "params", MAX_PARAM_CHARS)
    await door.ask(lambda room: room.logged.add_params(model_id, params))
    return {}


async def delete(door: Door, given: Given) -> Json:
    model_id = given.needed("path_model_id")
    await door.ask(lambda room: room.logged.delete(model_id))
    return {}


async def search(door: Door, given: Given) -> Json:
    experiments = [as_experiment_id(number) for number in given.texts("experiment_ids", needed=True)]
    clauses = paging.search(given.text("filter"), [], LOGGED_MODELS).clauses
    wanted = Search(clauses, tuple(_order(part) for part in given.parts("order_by", plain=True)))
    limit = min(given.whole("max_results") or DEFAULT_RESULTS, MAX_RESULTS)
    asked = paging.page(given.text("page_token"), limit)
    found = await door.ask(lambda room: room.logged.search(experiments, wanted, asked))
    rows, token = paging.cut(found, asked)
    return shapes.without_empty(models=[shapes.logged_model(row) for row in rows]) | token


def _order(given: Given) -> Order:
    name = given.needed("field_name")
    try:
        order = parse_order(name, LOGGED_MODELS)
    except BadSearch as error:
        raise invalid(f"Invalid order by field name: {name}") from error
    return Order(order.entity, order.key, given.flag("ascending"))


CALLS: Final[dict[tuple[str, str], Call]] = {
    ("POST", "logged-models"): create,
    ("POST", "logged-models/search"): search,
    ("GET", "logged-models/{path_model_id}"): get,
    ("PATCH", "logged-models/{path_model_id}"): finalize,
    ("DELETE", "logged-models/{path_model_id}"): delete,
    ("PATCH", "logged-models/{path_model_id}/tags"): set_tags,
    ("DELETE", "logged-models/{path_model_id}/tags/{path_key}"): delete_tag,
    ("POST", "logged-models/{path_model_id}/params"): add_params,
}
