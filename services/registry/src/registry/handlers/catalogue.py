"""Registered models, versions and aliases, as MLflow's clients know them. What a gate governs is moved by the gate alone."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from driftloop_contracts.control_plane import AliasMoved, TagChanged, VersionRegistered
from driftloop_contracts.event import AnyEvent, Fact, derived_id, first
from registry.domain.search import Search
from registry.handlers.logged_models import LoggedModels
from registry.handlers.refused import invalid, no_model, no_version, refused, taken
from registry.ports import catalogue
from registry.ports.catalogue import RegisteredModel, Version
from registry.ports.tracking import Page

GOVERNED_ALIASES: Final = ("champion", "challenger")
STAGES: Final = {"none": "None", "staging": "Staging", "production": "Production", "archived": "Archived"}
# What a key or a subject of an event may be called; other names live in MLflow's API alone.
_EVENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}")
_LOGGED: Final = re.compile(r"models:/(m-[0-9a-f]+)")
_VERSION_TAG: Final = "mlflow.modelVersions"


class Catalogue:
    """What exists under which name."""

    def __init__(self, models: catalogue.RegisteredModels, versions: catalogue.Versions, logged: LoggedModels) -> None:
        self._models = models
        self._versions = versions
        self._logged = logged

    async def create(self, name: str, description: str | None, tags: Mapping[str, str], now_ms: int) -> RegisteredModel:
        """The model is there."""
        if not await self._models.create(name, description, tags, now_ms):
            raise taken(f"Registered Model (name={name}) already exists.")
        return RegisteredModel(name, now_ms, now_ms, description, tags)

    async def get(self, name: str) -> RegisteredModel:
        """The whole model."""
        found = await self._models.whole([name])
        if not found:
            raise no_model(name)
        return found[0]

    async def rename(self, name: str, new_name: str, now_ms: int) -> RegisteredModel:
        """The model, its versions and aliases have the new name."""
        await self.get(name)
        await self._refuse_governed(name, f"model {name!r} can't be renamed")
        if not await self._models.rename(name, new_name, now_ms):
            raise taken(f"Registered Model (name={new_name}) already exists.")
        return await self.get(new_name)

    async def describe(self, name: str, description: str, now_ms: int) -> RegisteredModel:
        """The description has changed."""
        before = await self.get(name)
        await self._models.describe(name, description, now_ms)
        return replace(before, description=description, updated_ms=now_ms)

    async def delete(self, name: str) -> None:
        """The model and its versions are gone."""
        await self.get(name)
        await self._refuse_governed(name, f"model {name!r} can't be deleted, what it was must stay to be told")
        await self._models.delete(name)

    async def set_tag(self, name: str, key: str, value: str, now_ms: int) -> tuple[None, list[AnyEvent]]:
        """The tag has this value."""
        await self.get(name)
        await self._models.set_tag(name, key, value, now_ms)
        return None, _told(TagChanged, name, now_ms, {"model": name, "name": key, "value": value})

    async def delete_tag(self, name: str, key: str, now_ms: int) -> tuple[None, list[AnyEvent]]:
        """The tag is gone, if it was there."""
        await self.get(name)
        if not await self._models.delete_tag(name, key, now_ms):
            return None, []
        return None, _told(TagChanged, name, now_ms, {"model": name, "name": key})

    async def by_alias(self, name: str, alias: str) -> Version:
        """The version that it names; `latest` is the newest."""
        model = await self.get(name)
        number = model.aliases.get(alias)
        if number is None and alias.lower() == "latest":
            number = max((version.number for version in model.latest), default=None)
        if number is None:
            raise invalid(f"Registered model alias {alias} not found.")
        return await self.version(name, number)

    async def set_alias(self, name: str, alias: str, number: int, now_ms: int, by: str) -> tuple[None, list[AnyEvent]]:
        """The alias names this version, unless a gate decides what it names."""
        await self.version(name, number)
        await self._refuse_governed_alias(name, alias)
        previous = await self._models.alias(name, alias)
        await self._models.set_alias(name, alias, number, now_ms)
        moved = {"model": name, "alias": alias, "version": str(number), "moved_by": by} | _previous(previous)
        return None, _told(AliasMoved, name, now_ms, moved)

    async def delete_alias(self, name: str, alias: str, now_ms: int, by: str) -> tuple[None, list[AnyEvent]]:
        """The alias names nothing, unless a gate decides what it names."""
        await self.get(name)
        await self._refuse_governed_alias(name, alias)
        previous = await self._models.alias(name, alias)
        await self._models.delete_alias(name, alias, now_ms)
        if previous is None:
            return None, []
        return None, _told(
            AliasMoved, name, now_ms, {"model": name, "alias": alias, "moved_by": by} | _previous(previous)
        )

    async def search(self, search: Search, page: Page) -> tuple[list[RegisteredModel], bool]:
        """The page, and whether there is more."""
        names = await self._models.search(search, page)
        return await self._models.whole(names[: page.limit]), len(names) > page.limit

    async def create_version(self, version: Version) -> tuple[Version, list[AnyEvent]]:
        """The version has its number."""
        await self.get(version.name)
        placed = await self._placed(version)
        number = await self._versions.create(placed)
        await self._note_on_logged_model(placed, number)
        registered = {
            "model": version.name, "version": str(number), "source": placed.source, "run_id": placed.run_id or None,
        }  # fmt: skip
        events = _told(VersionRegistered, version.name, version.created_ms, registered)
        return replace(placed, number=number), events

    async def version(self, name: str, number: int) -> Version:
        """The version."""
        found = await self._versions.get(name, number)
        if found is None:
            raise no_version(name, number)
        return found

    async def latest(self, name: str, stages: Sequence[str]) -> list[Version]:
        """The newest of each stage."""
        await self.get(name)
        return await self._versions.latest(name, [stage_of(stage) for stage in stages])

    async def describe_version(self, name: str, number: int, description: str, now_ms: int) -> Version:
        """The description has changed."""
        before = await self.version(name, number)
        await self._versions.describe(name, number, description, now_ms)
        return replace(before, description=description, updated_ms=now_ms)

    async def move(self, name: str, number: int, stage: str, archive_others: bool, now_ms: int) -> Version:
        """It has this stage."""
        stage = stage_of(stage)
        if archive_others and stage not in ("Staging", "Production"):
            raise invalid(
                f"Model version transition cannot archive existing model versions because '{stage}' is not an Active stage. "
                "Valid stages are ['Staging', 'Production']"
            )
        before = await self.version(name, number)
        await self._versions.move(name, number, stage, archive_others, now_ms)
        return replace(before, stage=stage, updated_ms=now_ms)

    async def delete_version(self, name: str, number: int, now_ms: int) -> None:
        """It is gone, unless a deployment names it."""
        await self.version(name, number)
        role = (await self._versions.serving(name)).get(number)
        if role:
            raise refused(
                "PERMISSION_DENIED", f"Version {number} of model '{name}' is its {role}: it can't be deleted."
            )
        await self._versions.delete(name, number, now_ms)

    async def set_version_tag(
        self, name: str, number: int, key: str, value: str, now_ms: int
    ) -> tuple[None, list[AnyEvent]]:
        """The tag has this value."""
        await self.version(name, number)
        await self._versions.set_tag(name, number, key, value)
        told = {"model": name, "version": str(number), "name": key, "value": value}
        return None, _told(TagChanged, name, now_ms, told)

    async def delete_version_tag(self, name: str, number: int, key: str, now_ms: int) -> tuple[None, list[AnyEvent]]:
        """The tag is gone, if it was there."""
        await self.version(name, number)
        if not await self._versions.delete_tag(name, number, key):
            return None, []
        return None, _told(TagChanged, name, now_ms, {"model": name, "version": str(number), "name": key})

    async def download_uri(self, name: str, number: int) -> str:
        """Where its bytes lie, `models:/m-…` resolved."""
        version = await self.version(name, number)
        logged = _LOGGED.fullmatch(version.source)
        if logged is None:
            return version.source
        model = await self._logged.get(logged[1])
        return f"{model.artifact_root}/models/{model.model_id}/artifacts"

    async def search_versions(self, search: Search, page: Page) -> list[Version]:
        """One more than the page where there is more."""
        return await self._versions.search(search, page)

    async def _placed(self, version: Version) -> Version:
        """A version of a logged model has that model's run; of another version, its source."""
        if logged := _LOGGED.fullmatch(version.source):
            model = await self._logged.get(logged[1])
            return replace(version, run_id=version.run_id or model.source_run_id, model_id=model.model_id)
        if other := re.fullmatch(r"models:/([^/]+)/(\d{1,9})", version.source):
            source = await self.version(other[1], int(other[2]))
            return replace(version, source=source.source, run_id=version.run_id or source.run_id)
        return version

    async def _note_on_logged_model(self, version: Version, number: int) -> None:
        if version.model_id is None:
            return
        tags = (await self._logged.get(version.model_id)).tags
        known = json.loads(tags.get(_VERSION_TAG, "[]"))
        noted = json.dumps([*known, {"name": version.name, "version": number}])
        await self._logged.set_tags(version.model_id, {_VERSION_TAG: noted})

    async def _refuse_governed(self, name: str, what: str) -> None:
        if await self._models.governed(name):
            raise refused("PERMISSION_DENIED", f"A declaration governs it: {what}.")

    async def _refuse_governed_alias(self, name: str, alias: str) -> None:
        if alias in GOVERNED_ALIASES and await self._models.governed(name):
            raise refused(
                "PERMISSION_DENIED",
                f"Alias '{alias}' of model '{name}' is moved by the gate of its declaration alone. To promote a version, train "
                f"a candidate (`driftloop retrain {name}`) that the gate lets through; approve one that waits "
                f"(`driftloop approve {name} --version N`); or go back (`driftloop rollback {name}`).",
            )


def stage_of(given: str) -> str:
    """The stage in MLflow's spelling. Raises Refused."""
    stage = STAGES.get(given.lower())
    if stage is None:
        raise invalid(
            f"Invalid Model Version stage: {given}. Value must be one of None, Staging, Production, Archived."
        )
    return stage


def _previous(number: int | None) -> dict[str, str]:
    return {} if number is None else {"previous": str(number)}


def _told(kind: type[Fact], name: str, now_ms: int, fields: Mapping[str, str | None]) -> list[AnyEvent]:
    """The change as an event; none for a name that no event may carry. The same change in the same millisecond is one."""
    if not _EVENT_NAME.fullmatch(name):
        return []
    said = json.dumps(fields, sort_keys=True)
    event_id = derived_id(name, f"{kind.TYPE}:{now_ms}:{said}")
    return [first(kind.model_validate(dict(fields)), id=event_id, time=datetime.fromtimestamp(now_ms / 1000, UTC))]
