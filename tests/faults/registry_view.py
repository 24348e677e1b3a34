"""What a registry has said on its topics, beside what stands in its database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from tests.faults.verdict import Effect

from driftloop_bus.codec import decode
from driftloop_bus.ports import Log
from driftloop_bus.routes import on_every
from driftloop_bus.tail import Tail
from driftloop_bus.testing import everything
from driftloop_contracts import AnyEvent
from driftloop_contracts.control_plane import DeploymentChanged, MetricsLogged, ModelDeclared, RunStarted, TagChanged
from driftloop_contracts.topics import AUDIT, DECLARATIONS, DEPLOYMENTS, REGISTRY, RUNS

TOPICS: Final = (REGISTRY, RUNS, AUDIT, DEPLOYMENTS, DECLARATIONS)
CHANGE: Final = "change"
"""The tag by which a run says whose change it is."""

# Each change that the database knows, by the name that its event gives it as well.
_CHANGES: Final = {
    "run": "SELECT run_id FROM run",
    "metric": "SELECT run_id || ':' || key || ':' || step FROM run_metric",
    "audit": "SELECT event_id FROM audit",
    "deployment": "SELECT model || ':' || generate_series(1, revision) FROM deployment",
}
Said = dict[str, list[AnyEvent]]
"""Events by topic."""


async def said(log: Log) -> Said:
    """Everything on the registry's topics, in order; what was sent again, under the same id, counts where it came first."""
    found: Said = {}
    for topic in TOPICS:
        events = [decode(record) for record in await everything(log, topic.name)]
        found[topic.name] = list({event.id: event for event in reversed(events)}.values())[::-1]
    return found


def effects(found: Said) -> list[Effect]:
    """What came of changes named `<key>:<seq>`, wherever they left their event."""
    names = [name for events in found.values() for event in events for name in _change_of(event)]
    return [Effect(key, f"{key}:{seq}", int(seq)) for key, _, seq in (name.rpartition(":") for name in names)]


def _change_of(event: AnyEvent) -> list[str]:
    match event.data:
        case TagChanged(model=model, value=value) if value is not None:
            return [f"{model}:{value}"]
        case MetricsLogged(run_id=run_id, metrics=metrics):
            return [f"{run_id}:{metric.step}" for metric in metrics]
        case RunStarted(tags=tags) if CHANGE in tags:
            return [str(tags[CHANGE])]
        case DeploymentChanged() | ModelDeclared() if (event.causation or "").rpartition(":")[2].isdigit():
            return [str(event.causation)]
    return []


def _named(found: Said) -> dict[str, set[str]]:
    """The changes that events tell of."""
    runs, metrics = (
        found[RUNS.name],
        [event.data for event in found[RUNS.name] if isinstance(event.data, MetricsLogged)],
    )
    return {
        "run": {event.data.run_id for event in runs if isinstance(event.data, RunStarted)},
        "metric": {f"{fact.run_id}:{one.key}:{one.step}" for fact in metrics for one in fact.metrics},
        "audit": {event.id for event in found[AUDIT.name]},
        "deployment": {f"{event.data.model}:{event.data.revision}" for event in found[DEPLOYMENTS.name]},
    }


async def differences(database_url: str, found: Said) -> tuple[list[str], list[str]]:
    """Changes in the database of which no event tells, and events whose change is not there."""
    told, eventless, changeless = _named(found), list[str](), list[str]()
    connection = await asyncpg.connect(database_url)
    try:
        for kind, query in _CHANGES.items():
            there = {str(row[0]) for row in await connection.fetch(query)}
            assert there, f"the database knows no {kind}"
            eventless += [f"{kind} {name}" for name in there - told[kind]]
            changeless += [f"{kind} {name}" for name in told[kind] - there]
    finally:
        await connection.close()
    return eventless, changeless


class LastValues:
    """The last value of each key, as whoever reads a topic from its beginning knows it."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    async def on_any(self, event: AnyEvent) -> list[AnyEvent]:
        """It stands last now."""
        self._last[f"{type(event.data).__name__} {event.data.key()}"] = _value(event)
        return []

    async def as_in(self, database_url: str) -> bool:
        """Whether the database says the same of each key that it knows."""
        connection = await asyncpg.connect(database_url)
        try:
            deployments = await connection.fetch("SELECT model, revision, frozen FROM deployment")
            declarations = await connection.fetch("SELECT name, digest FROM declaration")
            tags = await connection.fetch("SELECT name, value FROM registered_model_tag")
        finally:
            await connection.close()
        there: dict[str, Any] = {f"DeploymentChanged {name}": tuple(state) for name, *state in deployments}
        there |= {f"ModelDeclared {name}": digest for name, digest in declarations}
        there |= {f"TagChanged {name}": value for name, value in tags}
        return bool(there) and all(self._last.get(name) == value for name, value in there.items())


@asynccontextmanager
async def last_values(log: Log) -> AsyncIterator[LastValues]:
    """Of deployments, declarations and tags, followed for as long as the block runs."""
    topics = (DEPLOYMENTS, DECLARATIONS, REGISTRY)
    values = LastValues()
    tail = Tail(log, topics, [on_every(topic, LastValues.on_any) for topic in topics], values)
    following = asyncio.create_task(tail.run())
    try:
        yield values
    finally:
        tail.stop()
        await following


def _value(event: AnyEvent) -> Any:
    match event.data:
        case DeploymentChanged(revision=revision, frozen=frozen):
            return revision, frozen
        case ModelDeclared(digest=digest):
            return digest
        case TagChanged(value=value):
            return value
    return None
