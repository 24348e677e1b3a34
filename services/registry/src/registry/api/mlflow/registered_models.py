"""`registered-models/...`"""

import json
import re
from typing import Any, Final

from registry.api.mlflow import paging, shapes
from registry.api.mlflow.door import PERSON, Call, Door, now_ms
from registry.api.mlflow.given import Given, check_name, too_long
from registry.domain.search import MODELS, without_prompts
from registry.handlers.refused import invalid

Json = dict[str, Any]
MAX_TAG_CHARS: Final = 100_000
MAX_ALIAS_CHARS: Final = 255
MAX_RESULTS: Final = 1_000
DEFAULT_RESULTS: Final = 100


def model_name(given: Given, field: str = "name") -> str:
    """A name that a new model may have. Raises Refused."""
    name = given.needed(field)
    if not name.strip():
        raise invalid(f"Missing value for required parameter '{field}'.")
    if "/" in name or ":" in name:
        raise invalid(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    check_name(name, field)
    return name


def as_version(text: str) -> int:
    """The number of a version. Raises Refused."""
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise invalid(f"Parameter 'version' must be an integer, got '{text}'.")
    return int(text)


def tags(given: Given) -> dict[str, str]:
    """Tags by key."""
    return {
        part.key(): part.text("value", max_chars=MAX_TAG_CHARS, what="value") or ""
        for part in given.parts("tags", plain=True)
    }


def _alias(given: Given) -> str:
    alias = given.needed("alias")
    if not re.fullmatch(r"[\w\-]*", alias):
        raise invalid(
            f"Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
        )
    if len(alias) > MAX_ALIAS_CHARS:
        raise too_long("Registered model alias name", MAX_ALIAS_CHARS)
    if alias.lower() == "latest":
        raise invalid("'latest' alias name (case insensitive) is reserved.")
    if re.fullmatch(r"v\d+", alias, re.IGNORECASE):
        raise invalid(f"Version alias name '{alias}' is reserved.")
    return alias


async def create(door: Door, given: Given) -> Json:
    name, its_tags, description = model_name(given), tags(given), given.text("description")
    found = await door.ask(lambda room: room.catalogue.create(name, description, its_tags, now_ms()))
    return {"registered_model": shapes.registered_model(found)}


async def get(door: Door, given: Given) -> Json:
    name = given.needed("name")
    return {"registered_model": shapes.registered_model(await door.ask(lambda room: room.catalogue.get(name)))}


async def rename(door: Door, given: Given) -> Json:
    name, new_name = given.needed("name"), model_name(given, "new_name")
    found = await door.ask(lambda room: room.catalogue.rename(name, new_name, now_ms()))
    return {"registered_model": shapes.registered_model(found)}


async def update(door: Door, given: Given) -> Json:
    name, description = given.needed("name"), given.text("description") or ""
    found = await door.ask(lambda room: room.catalogue.describe(name, description, now_ms()))
    return {"registered_model": shapes.registered_model(found)}


async def delete(door: Door, given: Given) -> Json:
    name = given.needed("name")
    await door.ask(lambda room: room.catalogue.delete(name))
    return {}


async def set_tag(door: Door, given: Given) -> Json:
    name, key, value = given.needed("name"), given.key(), given.text("value", max_chars=MAX_TAG_CHARS) or ""
    await door.tell(lambda room: room.catalogue.set_tag(name, key, value, now_ms()))
    return {}


async def delete_tag(door: Door, given: Given) -> Json:
    name, key = given.needed("name"), given.needed("key")
    await door.tell(lambda room: room.catalogue.delete_tag(name, key, now_ms()))
    return {}


async def get_by_alias(door: Door, given: Given) -> Json:
    name, alias = given.needed("name"), given.needed("alias")
    found = await door.ask(lambda room: room.catalogue.by_alias(name, alias))
    return {"model_version": shapes.version(found, aliases=True)}


async def set_alias(door: Door, given: Given) -> Json:
    name, alias, number = given.needed("name"), _alias(given), as_version(given.needed("version"))
    await door.tell(lambda room: room.catalogue.set_alias(name, alias, number, now_ms(), PERSON))
    return {}


async def delete_alias(door: Door, given: Given) -> Json:
    name, alias = given.needed("name"), given.needed("alias")
    await door.tell(lambda room: room.catalogue.delete_alias(name, alias, now_ms(), PERSON))
    return {}


async def latest_versions(door: Door, given: Given) -> Json:
    name, stages = given.needed("name"), given.texts("stages")
    found = await door.ask(lambda room: room.catalogue.latest(name, stages))
    return shapes.without_empty(model_versions=shapes.versions(found))


async def search(door: Door, given: Given) -> Json:
    limit = given.whole("max_results")
    if limit is not None and limit > MAX_RESULTS:
        raise given.wrong("max_results", str(limit))
    if limit is not None and limit < 0:
        raise invalid(f"Invalid value for max_results. It must be a positive integer, but got {json.dumps(limit)}")
    wanted = without_prompts(paging.search(given.text("filter"), given.texts("order_by"), MODELS))
    asked = paging.page(given.text("page_token"), DEFAULT_RESULTS if limit is None else limit)
    found, more = await door.ask(lambda room: room.catalogue.search(wanted, asked))
    answer = shapes.without_empty(registered_models=[shapes.registered_model(one) for one in found])
    return answer | paging.next_token(more, asked)


CALLS: Final[dict[tuple[str, str], Call]] = {
    ("POST", "registered-models/create"): create,
    ("GET", "registered-models/get"): get,
    ("POST", "registered-models/rename"): rename,
    ("PATCH", "registered-models/update"): update,
    ("DELETE", "registered-models/delete"): delete,
    ("POST", "registered-models/set-tag"): set_tag,
    ("DELETE", "registered-models/delete-tag"): delete_tag,
    ("GET", "registered-models/alias"): get_by_alias,
    ("POST", "registered-models/alias"): set_alias,
    ("DELETE", "registered-models/alias"): delete_alias,
    ("POST", "registered-models/get-latest-versions"): latest_versions,
    ("GET", "registered-models/get-latest-versions"): latest_versions,
    ("GET", "registered-models/search"): search,
}
