"""No arrow points left, and no service knows another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rules import FOR_ALL, FOR_LIBRARIES, FOR_SERVICES, KNOWS
from tree import EVERYTHING, LIBRARIES, SERVICES, Module, modules

Rule = Callable[[Module], list[str]]


def broken(rules: tuple[Rule, ...], source: Path) -> list[str]:
    return [f"{module.path}: {line}" for module in modules(source) for rule in rules for line in rule(module)]


@pytest.mark.parametrize("source", LIBRARIES, ids=lambda source: source.name)
def test_a_library_knows_only_those_to_its_right(source: Path) -> None:
    assert broken(FOR_LIBRARIES, source) == []


@pytest.mark.parametrize("source", SERVICES, ids=lambda source: source.name)
def test_a_service_knows_no_other_and_its_rooms_know_only_those_to_their_right(source: Path) -> None:
    assert broken(FOR_SERVICES, source) == []


@pytest.mark.parametrize("source", EVERYTHING, ids=lambda source: source.name)
def test_nothing_unsafe_is_imported_and_what_is_replaceable_stands_in_one_place(source: Path) -> None:
    assert broken(FOR_ALL, source) == []


def test_every_library_has_a_line_in_the_rules() -> None:
    assert {source.name for source in LIBRARIES} == set(KNOWS)


WRONG = {
    ("driftloop_bus", "runner", "import driftloop_kit.service"): FOR_LIBRARIES,
    ("monitor", "handlers", "from registry.domain import gate"): FOR_SERVICES,
    ("monitor", "domain", "from driftloop_contracts import Event"): FOR_SERVICES,
    ("monitor", "domain.watch", "import asyncio"): FOR_SERVICES,
    ("monitor", "ports", "from monitor.handlers import Monitor"): FOR_SERVICES,
    ("monitor", "store", "from monitor.settings import Settings"): FOR_SERVICES,
    ("monitor", "store", "import faust"): FOR_ALL,
    ("driftloop_kit", "service", "import aiokafka"): FOR_ALL,
    ("driftloop_bus", "topics", "from aiokafka.admin import NewTopic"): FOR_ALL,
    ("serving", "shelf", "import pickle"): FOR_ALL,
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong[0]}.{wrong[1]}: {wrong[2]}")
def test_each_rule_is_seen_to_bite(wrong: tuple[str, str, str], tmp_path: Path) -> None:
    package, name, line = wrong
    path = tmp_path / "module.py"
    path.write_text(line + "\n")
    assert any(rule(Module(package, name, path)) for rule in WRONG[wrong])
