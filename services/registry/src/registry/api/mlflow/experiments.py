"""`experiments/...`"""

import posixpath
import re
from typing import Any, Final

from registry.api.mlflow import paging, shapes
from registry.api.mlflow.door import Call, Door, now_ms
from registry.api.mlflow.given import Given
from registry.domain.search import EXPERIMENTS
from registry.handlers.refused import invalid, no_experiment

Json = dict[str, Any]
MAX_NAME_CHARS: Final = 500
MAX_TAG_CHARS: Final = 20_000
MAX_RESULTS: Final = 50_000
VIEWS: Final = {"DELETED_ONLY": False, "ALL": None}
"""What is asked for by `view_type`; anything else is the active ones."""


def experiment_id(given: Given) -> int:
    """The number of an experiment."""
    return as_experiment_id(given.needed("experiment_id"))


def as_experiment_id(text: str) -> int:
    """Raises Refused for what is no number, or none that can exist."""
    if not re.fullmatch(r"\d+", text, re.ASCII):
        raise invalid(f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer.")
    if len(text) > 9:
        raise no_experiment(text)
    return int(text)


def tags(given: Given, max_chars: int | None = MAX_TAG_CHARS, *, plain: bool = False) -> dict[str, str]:
    """Tags by key; of equal keys the last holds."""
    return {part.key(): part.text("value", max_chars=max_chars) or "" for part in given.parts("tags", plain=plain)}


async def create(door: Door, given: Given) -> Json:
    name = given.needed("name", max_chars=MAX_NAME_CHARS)
    location, its_tags = given.text("artifact_location"), tags(given)
    number = await door.ask(lambda room: room.experiments.create(name, _location(location), its_tags, now_ms()))
    return {"experiment_id": str(number)}


def _location(given: str | None) -> str | None:
    """A location of the client's own is kept as a word and never opened; `..` in it is refused."""
    if given and posixpath.normpath(given).find("..") >= 0:
        raise invalid(f"Invalid artifact location: {given!r}")
    return given or None


async def get(door: Door, given: Given) -> Json:
    number = experiment_id(given)
    return {"experiment": shapes.experiment(await door.ask(lambda room: room.experiments.get(number)))}


async def get_by_name(door: Door, given: Given) -> Json:
    name = given.needed("experiment_name")
    return {"experiment": shapes.experiment(await door.ask(lambda room: room.experiments.named(name)))}


async def update(door: Door, given: Given) -> Json:
    number, name = experiment_id(given), given.needed("new_name", max_chars=MAX_NAME_CHARS)
    await door.ask(lambda room: room.experiments.rename(number, name, now_ms()))
    return {}


async def delete(door: Door, given: Given) -> Json:
    number = experiment_id(given)
    await door.ask(lambda room: room.experiments.set_active(number, False, now_ms()))
    return {}


async def restore(door: Door, given: Given) -> Json:
    number = experiment_id(given)
    await door.ask(lambda room: room.experiments.set_active(number, True, now_ms()))
    return {}


async def set_tag(door: Door, given: Given) -> Json:
    number, key = experiment_id(given), given.key()
    value = given.text("value", max_chars=MAX_TAG_CHARS) or ""
    await door.ask(lambda room: room.experiments.set_tag(number, key, value, now_ms()))
    return {}


async def delete_tag(door: Door, given: Given) -> Json:
    number, key = experiment_id(given), given.needed("key")
    await door.ask(lambda room: room.experiments.delete_tag(number, key, now_ms()))
    return {}


async def search(door: Door, given: Given) -> Json:
    limit = given.whole("max_results") or 0
    if limit < 1:
        raise invalid(f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer")
    if limit > MAX_RESULTS:
        raise invalid(f"Invalid value {limit} for parameter 'max_results' supplied. It must be at most {MAX_RESULTS}")
    wanted = paging.search(given.text("filter"), given.texts("order_by"), EXPERIMENTS)
    asked, active = paging.page(given.text("page_token"), limit), VIEWS.get(given.text("view_type") or "", True)
    found = await door.ask(lambda room: room.experiments.search(wanted, active, asked))
    rows, token = paging.cut(found, asked)
    return shapes.without_empty(experiments=[shapes.experiment(row) for row in rows]) | token


CALLS: Final[dict[tuple[str, str], Call]] = {
    ("POST", "experiments/create"): create,
    ("GET", "experiments/get"): get,
    ("GET", "experiments/get-by-name"): get_by_name,
    ("POST", "experiments/update"): update,
    ("POST", "experiments/delete"): delete,
    ("POST", "experiments/restore"): restore,
    ("POST", "experiments/set-experiment-tag"): set_tag,
    ("POST", "experiments/delete-experiment-tag"): delete_tag,
    ("POST", "experiments/search"): search,
    ("GET", "experiments/search"): search,
}
