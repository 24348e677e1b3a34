"""The decisions' memory in a dict, for tests without a database. Values are frozen: a copy of the dict is a snapshot."""

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any

from driftloop_contracts.event import Event
from driftloop_contracts.loop import CandidateTrained
from registry.ports import Declared, Link, Moved, Registered, Sealed, Standing
from registry.store.detected import DETECTED

State = MutableMapping[Any, Any]


class MemoryModels:
    """Models in a dict."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def declared(self, name: str) -> Declared | None:
        found: Declared | None = self._state.get(("declared", name))
        return found

    async def declare(self, declared: Declared) -> None:
        self._state["declared", declared.name] = declared

    async def standing(self, model: str) -> Standing:
        found: Standing = self._state.get(("standing", model), Standing())
        return found

    async def standings(self, model: str | None = None) -> dict[str, Standing]:
        names = [name for kind, name, *_ in self._state if kind == "declared" and not name.startswith("view/")]
        return {name: await self.standing(name) for name in sorted(names) if model in (None, name)}

    async def stand(self, model: str, standing: Standing) -> None:
        self._state["standing", model] = standing

    async def register(self, event: Event[CandidateTrained]) -> str:
        known: tuple[Registered, ...] = self._versions(event.data.model)
        for version in known:
            if version.candidate_id == event.id:
                return version.version
        number = str(len(known) + 1)
        self._state["versions", event.data.model] = (*known, Registered(number, event.id, event.data))
        return number

    async def registered(self, model: str, versions: Collection[str]) -> dict[str, Registered]:
        return {known.version: known for known in self._versions(model) if known.version in versions}

    async def move_aliases(self, model: str, aliases: Mapping[str, str | None]) -> list[Moved]:
        before: Mapping[str, str] = self._state.get(("aliases", model), {})
        moved = [
            Moved(alias, before.get(alias), version)
            for alias, version in aliases.items()
            if before.get(alias) != version
        ]
        after = {**before, **aliases}
        self._state["aliases", model] = {alias: version for alias, version in after.items() if version is not None}
        return moved

    def _versions(self, model: str) -> tuple[Registered, ...]:
        found: tuple[Registered, ...] = self._state.get(("versions", model), ())
        return found


class MemoryChain:
    """The chain in a dict."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def keep(self, links: Sequence[Link]) -> None:
        for link in links:
            self._state.setdefault(("chain", link.id), link)

    async def find(self, id: str) -> Link | None:  # noqa: A002
        found: Link | None = self._state.get(("chain", id))
        return found

    async def why(self, id: str) -> list[Link]:  # noqa: A002
        told: list[Link] = []
        link = await self.find(id)
        while link is not None and link not in told:
            told.append(link)
            link = await self.find(link.causation or "") or self._detected(link)
        return told

    async def log(self, model: str, limit: int, before: tuple[datetime, str] | None = None) -> list[Link]:
        links = [
            link for link in self._links() if link.model == model and (before is None or (link.time, link.id) < before)
        ]
        return sorted(links, key=lambda link: (link.time, link.id), reverse=True)[:limit]

    def _links(self) -> list[Link]:
        return [value for key, value in self._state.items() if key[0] == "chain"]

    def _detected(self, link: Link) -> Link | None:
        if link.incident is None or link.type == DETECTED:
            return None
        found = [known for known in self._links() if known.type == DETECTED and known.incident == link.incident]
        return min(found, key=lambda known: known.time, default=None)


class MemoryAudit:
    """The audit in a dict."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def last(self, about: str) -> Sealed | None:
        found: Sealed | None = self._state.get(("audit", about))
        return found

    async def seal(self, about: str, record: Sealed, *, event_id: str, text: str) -> None:
        self._state["audit", about] = record
