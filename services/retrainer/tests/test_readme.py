"""The page says what the code does: each topic that is heard, each setting, each path."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from driftloop_bus.routes import plan, reads
from driftloop_kit.settings import ServiceSettings
from retrainer.__main__ import build
from retrainer.settings import Settings

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DRIFTLOOP_KAFKA", "nowhere:9092")
    monkeypatch.setenv("DRIFTLOOP_ARTIFACTS", (tmp_path / "artifacts").as_uri())
    monkeypatch.setenv("DRIFTLOOP_HISTORY", (tmp_path / "history").as_uri())
    monkeypatch.setenv("DRIFTLOOP_DATA", str(tmp_path / "data"))
    return Settings()  # type: ignore[call-arg]  # the environment gives the rest


def test_each_own_setting_stands_on_the_page(settings: Settings) -> None:
    own = [field for field in Settings.model_fields if field not in ServiceSettings.model_fields]
    variables = [str(Settings.model_fields[field].validation_alias or f"RETRAINER_{field.upper()}") for field in own]
    assert [variable for variable in (*variables, "RETRAINER_HTTP_PORT") if f"`{variable}`" not in README] == []


def test_each_event_that_is_heard_stands_on_the_page_with_its_topic(settings: Settings) -> None:
    routes = build(settings).routes
    heard = [
        *plan(routes, reads("retrainer")).topics(),
        *(route.fact.__name__ for route in routes if route.fact is not None),
    ]
    assert [word for word in heard if word not in README] == []


def test_without_kafka_the_settings_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRIFTLOOP_KAFKA", raising=False)
    with pytest.raises(ValidationError, match="DRIFTLOOP_KAFKA"):
        Settings()  # type: ignore[call-arg]  # as above
