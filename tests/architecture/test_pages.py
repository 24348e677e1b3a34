"""A service's page says what its code does: what it hears, what it tells, what it can be told by its settings."""

from __future__ import annotations

import os
import re
from pathlib import Path
from unittest.mock import patch

import pytest
from composed import NAMES, built, page, part, place, settings_of
from pydantic import ValidationError

from driftloop_bus.routes import reads
from driftloop_contracts.topics import TOPICS
from driftloop_kit.settings import ServiceSettings


def topics_in(text: str) -> set[str]:
    """Topics that the text names in code; `retraining.<model>.v1` is made on demand and stands in no catalogue."""
    return set(re.findall(r"`([a-z-]+\.v\d+)`", text))


def own(name: str) -> set[str]:
    """Fields of the settings that are not every service's; and where it listens."""
    return settings_of(name).model_fields.keys() - ServiceSettings.model_fields.keys() | {"http_port"}


def variable(name: str, field: str) -> str:
    return str(settings_of(name).model_fields[field].validation_alias or f"{name}_{field}".upper())


def test_pages_name_the_topics_that_are_heard_and_written() -> None:
    pages = {name: page(name) for name in NAMES}
    heard_there = {name: topics_in(part(text, "Consumes")) for name, text in pages.items()}
    assert heard_there == {name: {topic.name for topic in reads(name)} for name in NAMES}
    for name, text in pages.items():
        told = topics_in(part(text, "Emits"))
        assert told >= {topic.name for topic in TOPICS if topic.owner == name}, name
        assert told <= {topic.name for topic in TOPICS if topic.may_write(name)}, name


@pytest.mark.parametrize("name", NAMES)
def test_the_page_names_each_event_that_is_heard(name: str, tmp_path: Path) -> None:
    service = built(name, tmp_path)
    routes = [*service.routes, *(service.tail[0] if service.tail is not None else [])]
    facts = {route.fact.__name__ for route in routes if route.fact is not None}
    told = part(page(name), "Consumes")
    assert [fact for fact in sorted(facts) if fact not in told] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_page_names_every_setting_of_the_services_own(name: str) -> None:
    told = part(page(name), "Settings")
    assert [field for field in sorted(own(name)) if f"`{variable(name, field)}`" not in told] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_page_names_the_default_of_every_number(name: str) -> None:
    defaults = {field: settings_of(name).model_fields[field].default for field in own(name)}
    rows = dict(re.findall(rf"\| `{name.upper()}_(\w+)` \| (\d+)", part(page(name), "Settings")))
    assert rows == {field.upper(): str(default) for field, default in defaults.items() if type(default) is int}


@pytest.mark.parametrize("name", NAMES)
def test_without_kafka_the_settings_say_what_is_missing(name: str, tmp_path: Path) -> None:
    given = place(name, tmp_path)
    del given["DRIFTLOOP_KAFKA"]
    with patch.dict(os.environ, given, clear=True), pytest.raises(ValidationError, match="DRIFTLOOP_KAFKA"):
        settings_of(name)()  # type: ignore[call-arg]  # the environment gives the rest
