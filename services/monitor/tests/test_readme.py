"""The page says what the code does."""

import re
from pathlib import Path

from fastapi import FastAPI
from services.monitor.tests.test_api import no_board

from driftloop_contracts import TOPICS
from monitor.api import router

PAGE = (Path(__file__).parents[1] / "README.md").read_text()


def topics(text: str) -> set[str]:
    return set(re.findall(r"`([a-z-]+\.v\d)`", text))


def test_it_names_every_topic_that_is_written_and_no_other() -> None:
    written = topics(PAGE.partition("**Emits**")[2].partition("**Keeps**")[0])
    assert written == {topic.name for topic in TOPICS if topic.owner == "monitor"}


def test_it_names_every_route() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(router(no_board))
    for path in app.openapi()["paths"]:
        assert f"`{path}`" in PAGE
