"""Every service has the same rooms and says on one page what it does; the repository speaks of the project alone."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
from tree import EVERYTHING, ROOT, SERVICES, modules

FILES = (
    "README.md",
    "Dockerfile",
    "pyproject.toml",
    "src/{name}/__main__.py",
    "src/{name}/settings.py",
    "src/{name}/py.typed",
)
SECTIONS = ("Decides", "Consumes", "Emits", "Keeps", "HTTP", "Settings", "While", "Not obvious")
TOP_LEVEL = {
    "README.md", "docker-compose.yml", "services", "libs", "contracts", "tests", "infra", "pyproject.toml", "constraints.txt",
    "Makefile", "LICENSE", "CHANGELOG.md", "CODEOWNERS", ".ci", ".github", ".gitignore", ".gitattributes", ".dockerignore",
    ".python-version", ".pre-commit-config.yaml", ".editorconfig",
}  # fmt: skip
# The environment is read by settings; the exceptions run before any settings exist, or are told where things are by it.
READS_ENVIRONMENT = {
    "driftloop_kit", "driftloop_local", "driftloop", "flights", "driftloop_bus", "retrainer.executor", "retrainer.tracking",
}  # fmt: skip
# Broad by design: the runner sorts what handlers raise, the relay must outlive any of it, the guard answers 500 for a door.
CATCHES_ALL = {"driftloop_bus", "driftloop_kit.http"}


def committed() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


@pytest.mark.parametrize("source", SERVICES, ids=lambda source: source.name)
def test_a_service_has_every_file_that_others_look_for(source: Path) -> None:
    folder = source.parents[1]
    missing = [name for name in FILES if not (folder / name.format(name=source.name)).exists()]
    assert missing == []
    assert list((folder / "tests").glob("test_*.py")), "a service has tests of its own"


@pytest.mark.parametrize("source", SERVICES, ids=lambda source: source.name)
def test_a_services_readme_is_one_page_with_the_same_parts(source: Path) -> None:
    text = (source.parents[1] / "README.md").read_text()
    missing = [section for section in SECTIONS if not re.search(rf"^(\*\*|#+ ){section}", text, re.MULTILINE)]
    assert missing == []
    assert len(text.splitlines()) <= 120


def test_nothing_lies_at_the_top_level_that_does_not_belong_there() -> None:
    assert {name.split("/")[0] for name in committed()} - TOP_LEVEL == set()


@pytest.mark.parametrize("source", EVERYTHING, ids=lambda source: source.name)
def test_only_the_runner_and_the_relay_catch_everything(source: Path) -> None:
    caught = [
        f"{module.path}:{node.lineno}"
        for module in modules(source)
        if not {module.package, f"{module.package}.{module.room}"} & CATCHES_ALL
        for node in ast.walk(module.tree())
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception")
    ]
    assert caught == []


@pytest.mark.parametrize("source", EVERYTHING, ids=lambda source: source.name)
def test_the_environment_is_read_in_settings_alone(source: Path) -> None:
    found = [
        str(module.path)
        for module in modules(source)
        if module.package not in READS_ENVIRONMENT
        and f"{module.package}.{module.room}" not in READS_ENVIRONMENT
        and re.search(r"\bos\.(environ|getenv)\b", module.path.read_text())
    ]
    assert found == []


def test_no_file_names_a_machines_path_or_a_registrys_host() -> None:
    foreign = re.compile(
        r"(/(work|root)/|/home/[a-z]+/|https?://[a-z0-9.-]*(registry|index|files|proxy)\.[a-z0-9-]+\.[a-z]{2,4}[/\"])"
    )
    found = [
        f"{name}: {match[0]}"
        for name in committed()
        if not name.endswith((".min.js", ".txt", ".sha256")) and (ROOT / name).is_file()
        if (match := foreign.search((ROOT / name).read_text(errors="replace")))
    ]
    assert found == []
