"""What the model registry needs from outside: registered models, versions, aliases, tags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from registry.domain.search import Search
from registry.ports.tracking import Page


@dataclass(frozen=True, slots=True)
class Version:
    """A numbered version of a registered model."""

    name: str
    number: int
    created_ms: int
    updated_ms: int
    source: str
    description: str = ""
    run_id: str = ""
    run_link: str = ""
    model_id: str | None = None
    stage: str = "None"
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A named model; `latest` is the newest version of each stage."""

    name: str
    created_ms: int
    updated_ms: int
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    latest: Sequence[Version] = ()


class RegisteredModels(Protocol):
    """Registered models, their tags and aliases."""

    async def create(self, name: str, description: str | None, tags: Mapping[str, str], now_ms: int) -> bool:
        """False when the name is taken."""

    async def whole(self, names: Sequence[str]) -> list[RegisteredModel]:
        """Those of them that exist, in this order; a fixed number of queries, however many."""

    async def rename(self, name: str, new_name: str, now_ms: int) -> bool:
        """False when the new name is taken."""

    async def describe(self, name: str, description: str, now_ms: int) -> None:
        """The description has changed."""

    async def delete(self, name: str) -> None:
        """The model and its versions are gone."""

    async def set_tag(self, name: str, key: str, value: str, now_ms: int) -> None:
        """The tag has this value."""

    async def delete_tag(self, name: str, key: str, now_ms: int) -> bool:
        """False when there was none."""

    async def alias(self, name: str, alias: str) -> int | None:
        """The version that it names."""

    async def set_alias(self, name: str, alias: str, number: int, now_ms: int) -> None:
        """It names this version."""

    async def delete_alias(self, name: str, alias: str, now_ms: int) -> None:
        """It names nothing."""

    async def governed(self, name: str) -> bool:
        """Whether a declaration says, or said, what may serve under this name."""

    async def search(self, search: Search, page: Page) -> list[str]:
        """Names of what matches, one more than the page where there is more."""


class Versions(Protocol):
    """Versions and their tags."""

    async def create(self, version: Version) -> int:
        """The number that it got: the next of its model, `version.number` is ignored. The model exists."""

    async def get(self, name: str, number: int) -> Version | None:
        """The version."""

    async def latest(self, name: str, stages: Sequence[str]) -> list[Version]:
        """The newest of each of these stages; of every stage where none is named."""

    async def describe(self, name: str, number: int, description: str, now_ms: int) -> None:
        """The description has changed."""

    async def move(self, name: str, number: int, stage: str, archive_others: bool, now_ms: int) -> None:
        """It has this stage; with `archive_others`, those that had it before are archived."""

    async def delete(self, name: str, number: int, now_ms: int) -> None:
        """It is gone; its number is never used again."""

    async def set_tag(self, name: str, number: int, key: str, value: str) -> None:
        """The tag has this value."""

    async def delete_tag(self, name: str, number: int, key: str) -> bool:
        """False when there was none."""

    async def serving(self, name: str) -> dict[int, str]:
        """Which versions a deployment names, and as what."""

    async def search(self, search: Search, page: Page) -> list[Version]:
        """What matches, one more than the page where there is more."""
