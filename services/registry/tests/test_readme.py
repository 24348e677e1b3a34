"""The page says what the code does."""

import re
from pathlib import Path

from registry.__main__ import routes
from registry.settings import Settings

PAGE = (Path(__file__).parents[1] / "README.md").read_text()


def test_every_topic_that_is_heard_stands_on_the_page() -> None:
    heard = {route.topic.name for route in routes() if route.topic is not None}
    own = set(re.findall(r"`([a-z-]+\.v1)`", PAGE.partition("**Emits**")[2]))
    assert heard - set(re.findall(r"`([a-z-]+\.v1)`", PAGE)) - own == set()


def test_every_setting_of_its_own_stands_on_the_page_with_its_default() -> None:
    own = set(Settings.model_fields) - set(Settings.__mro__[1].model_fields) | {"http_port"}  # type: ignore[attr-defined]  # its parent has fields too
    for name in own:
        assert f"`{name.upper()}`" in PAGE
    assert str(Settings.model_fields["http_port"].default) in PAGE
