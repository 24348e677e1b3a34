"""`model-versions/...`"""

from typing import Any, Final

from registry.api.mlflow import paging, shapes, sources
from registry.api.mlflow.door import Call, Door, now_ms
from registry.api.mlflow.given import Given
from registry.api.mlflow.registered_models import MAX_TAG_CHARS, as_version, tags
from registry.domain.search import VERSIONS, without_prompts
from registry.domain.search.language import IS_PROMPT
from registry.handlers.refused import invalid
from registry.ports.catalogue import Version

Json = dict[str, Any]
MAX_RESULTS: Final = 200_000
DEFAULT_RESULTS: Final = 10_000
PROMPT_TEXT: Final = "mlflow.prompt.text"


def _named(given: Given) -> tuple[str, int]:
    return given.needed("name"), as_version(given.needed("version"))


async def create(door: Door, given: Given) -> Json:
    name, source, its_tags, at_ms = given.needed("name"), given.needed("source"), tags(given), now_ms()
    _check_prompt(its_tags)
    run_id = given.text("run_id")
    version = Version(
        name=name,
        number=0,
        created_ms=at_ms,
        updated_ms=at_ms,
        source=sources.checked(source, run_id, prompt=its_tags.get(IS_PROMPT) == "true"),
        description=given.text("description") or "",
        run_id=run_id or "",
        run_link=given.text("run_link") or "",
        model_id=given.text("model_id"),
        tags=its_tags,
    )
    created = await door.tell(lambda room: room.catalogue.create_version(version))
    return {"model_version": shapes.version(created)}


async def get(door: Door, given: Given) -> Json:
    name, number = _named(given)
    found = await door.ask(lambda room: room.catalogue.version(name, number))
    return {"model_version": shapes.version(found, aliases=True)}


async def update(door: Door, given: Given) -> Json:
    (name, number), description = _named(given), given.text("description") or ""
    found = await door.ask(lambda room: room.catalogue.describe_version(name, number, description, now_ms()))
    return {"model_version": shapes.version(found)}


async def delete(door: Door, given: Given) -> Json:
    name, number = _named(given)
    await door.ask(lambda room: room.catalogue.delete_version(name, number, now_ms()))
    return {}


async def set_tag(door: Door, given: Given) -> Json:
    (name, number), key, value = _named(given), given.key(), given.text("value") or ""
    _check_prompt({key: value})
    value = given.text("value", max_chars=MAX_TAG_CHARS) or ""
    await door.tell(lambda room: room.catalogue.set_version_tag(name, number, key, value, now_ms()))
    return {}


async def delete_tag(door: Door, given: Given) -> Json:
    (name, number), key = _named(given), given.needed("key")
    await door.tell(lambda room: room.catalogue.delete_version_tag(name, number, key, now_ms()))
    return {}


async def transition(door: Door, given: Given) -> Json:
    (name, number), stage, archive = _named(given), given.needed("stage"), given.flag("archive_existing_versions")
    found = await door.ask(lambda room: room.catalogue.move(name, number, stage, archive, now_ms()))
    return {"model_version": shapes.version(found, aliases=True)}


async def download_uri(door: Door, given: Given) -> Json:
    name, number = _named(given)
    return {"artifact_uri": await door.ask(lambda room: room.catalogue.download_uri(name, number))}


async def search(door: Door, given: Given) -> Json:
    limit = given.whole("max_results")
    if limit is not None and limit > MAX_RESULTS:
        raise given.wrong("max_results", str(limit))
    if limit is not None and limit < 1:
        raise invalid(f"Invalid value for max_results. It must be a positive integer, but got {limit}")
    wanted = without_prompts(paging.search(given.text("filter"), given.texts("order_by"), VERSIONS))
    asked = paging.page(given.text("page_token"), limit or DEFAULT_RESULTS)
    found = await door.ask(lambda room: room.catalogue.search_versions(wanted, asked))
    rows, token = paging.cut(found, asked)
    return shapes.without_empty(model_versions=shapes.versions(rows)) | token


def _check_prompt(its_tags: dict[str, str]) -> None:
    if len(its_tags.get(PROMPT_TEXT, "")) > MAX_TAG_CHARS:
        raise invalid(f"Prompt text exceeds max length of {MAX_TAG_CHARS} characters.")


CALLS: Final[dict[tuple[str, str], Call]] = {
    ("POST", "model-versions/create"): create,
    ("GET", "model-versions/get"): get,
    ("PATCH", "model-versions/update"): update,
    ("DELETE", "model-versions/delete"): delete,
    ("POST", "model-versions/set-tag"): set_tag,
    ("DELETE", "model-versions/delete-tag"): delete_tag,
    ("POST", "model-versions/transition-stage"): transition,
    ("GET", "model-versions/get-download-uri"): download_uri,
    ("GET", "model-versions/search"): search,
}
