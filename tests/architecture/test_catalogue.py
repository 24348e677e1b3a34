"""What a service hears and says is what the catalogue gives it."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from composed import NAMES, built
from tree import SERVICES, Module, modules

from driftloop_bus.routes import plan, reads
from driftloop_contracts.topics import FACTS, TOPICS, topic_for
from driftloop_kit.service import Service

# A process beside its service, with a group of its own.
ROLLUPS = "monitor-rollups"
# In the catalogue, and nobody says them yet: the README's last section tells so. What is built leaves this set.
NOT_SAID_YET = {"BlindnessDetected", "SchemaBroken"}
# A class handed to one of these is heard or asked about, not made.
HEARS = {"on", "isinstance", "topic_for"}
CLASSES = {fact.__name__: fact for fact in FACTS.values()}


def heard(name: str, service: Service[object]) -> set[str]:
    """Topics of its routes, of its tail, and of the consumer that the feature store's history has beside them."""
    readable = reads(name)
    topics = set(plan(service.routes, readable).topics())
    if service.tail is not None:
        topics |= set(plan(service.tail[0], readable).topics())
    if name == "feature_store":
        topics |= set(importlib.import_module("feature_store.history").TOPICS)
    return topics


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def said(module: Module) -> set[str]:
    """Names of the facts whose class the code calls."""
    return {last_name(call.func) for call in calls(module)} & set(CLASSES)


def said_somehow(module: Module) -> set[str]:
    """As `said`, and those that are made of what a job returned, or by a function that is handed the class."""
    found = said(module)
    for call in calls(module):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "model_validate":
            found.add(last_name(call.func.value))
        elif last_name(call.func) not in HEARS:
            found |= {last_name(given) for given in call.args}
    return found & set(CLASSES)


def calls(module: Module) -> list[ast.Call]:
    return [node for node in ast.walk(module.tree()) if isinstance(node, ast.Call)]


def in_all(source: Path, of: Callable[[Module], set[str]]) -> set[str]:
    return {name for module in modules(source) for name in of(module) if module.room != "testing"}


def not_allowed(service: str, names: set[str]) -> list[str]:
    """Facts that are in no topic of which the service is a writer."""
    wrong = []
    for name in sorted(names):
        try:
            topic_for(CLASSES[name], service)
        except LookupError as error:
            wrong.append(str(error))
    return wrong


# All services at once: a new one obeys the rules of the house before it has a place in the catalogue.
def test_services_hear_what_the_catalogue_lets_them_read_and_nothing_else(tmp_path: Path) -> None:
    found = {name: heard(name, built(name, tmp_path / name)) for name in NAMES}
    assert found == {name: {topic.name for topic in reads(name)} for name in NAMES}


def test_the_rollups_hear_theirs(tmp_path: Path) -> None:
    app = importlib.import_module("monitor.rollups").build("127.0.0.1:9", tmp_path)
    topics = {topic for agent in app.agents.values() for topic in agent.channel.topics}
    assert topics == {topic.name for topic in reads(ROLLUPS)}


def test_every_reader_writer_and_door_in_the_catalogue_exists() -> None:
    named = {name for topic in TOPICS for name in (*topic.readers, topic.owner, *topic.doors)}
    assert named - {"outside"} == {*NAMES, ROLLUPS}


@pytest.mark.parametrize("source", SERVICES, ids=lambda source: source.name)
def test_a_service_says_only_what_it_may_write(source: Path) -> None:
    assert not_allowed(source.name, in_all(source, said)) == []


def test_what_a_topic_carries_is_said_by_its_owner() -> None:
    # Serving writes bytes by hand, as its own tests hold equal to the codec's; producers outside are not ours.
    spoken = {name for source in SERVICES for name in in_all(source, said_somehow)} | {"PredictionMade"}
    promised = {fact.__name__ for topic in TOPICS if topic.owner != "outside" for fact in topic.events}
    assert promised - spoken == NOT_SAID_YET


def test_saying_what_is_another_services_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "handlers.py"
    path.write_text("async def on(self):\n    return [loop.DriftDetected(model='m'), RetrainRequested(model='m')]\n")
    found = said(Module("serving", "handlers", path))
    assert found == {"DriftDetected", "RetrainRequested"}
    assert len(not_allowed("serving", found)) == 2
    assert not_allowed("monitor", found) == []
