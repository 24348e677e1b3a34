"""What the front page shows can be done as it is shown."""

from __future__ import annotations

import re
from importlib.metadata import entry_points

import pytest
import yaml
from tree import ROOT

from driftloop.cli import model
from driftloop.cli.app import ENTRY_POINTS
from driftloop_contracts.documents import ModelDeclaration, parse_document
from flights.faults import FAULTS

PAGE = (ROOT / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_model_that_is_added_is_sound() -> None:
    (text,) = blocks("yaml")
    assert isinstance(parse_document(yaml.safe_load(text)), ModelDeclaration)


def test_the_snippets_are_python_that_names_what_there_is() -> None:
    import driftloop

    snippets = blocks("python")
    assert len(snippets) == 2
    for text in snippets:
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        compile(f"async def shown():\n{indented}\n", "README.md", "exec")
        assert [name for name in re.findall(r"driftloop\.(\w+)", text) if not hasattr(driftloop, name)] == []


def test_every_command_of_the_page_exists() -> None:
    shown = set(re.findall(r"(?:^|`|&& )driftloop ([a-z]+)((?: \| [a-z]+)*)", PAGE, re.MULTILINE))
    named = {first for first, _ in shown} | {word for _, more in shown for word in re.findall("[a-z]+", more)}
    assert named >= {"demo", "up", "down", "model", "retrain", "why", "watch", "freeze", "approve"}
    known = {point.name for point in entry_points(group=ENTRY_POINTS)}
    assert sorted(named - known) == []
    of_models = {
        command.name or command.callback.__name__ for command in model.app.registered_commands if command.callback
    }
    assert sorted(set(re.findall(r"driftloop model ([a-z]+)", PAGE)) - of_models) == []


def test_the_faults_are_as_many_as_the_page_says() -> None:
    assert "one of nine faults of the pipeline" in PAGE
    assert "a tenth, `late_rule`" in PAGE
    assert len(FAULTS) == 10


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)", PAGE)) - {"it"}))
def test_every_target_of_make_that_the_page_names_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
