"""A service is made in a temporary copy of the repository, and everything that holds for services holds for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).parents[3]
COPIED = (
    "pyproject.toml", "README.md", "Makefile", "constraints.txt", "docker-compose.yml", "CODEOWNERS",
    "contracts", "libs", "infra", "services", "tests/architecture",
)  # fmt: skip
NAME = "price_watch"


def run(repository: Path, *command: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository / "services" / NAME / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, f"{command}: {done.stdout[-3000:]}{done.stderr[-2000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the new service in it."""
    copy = tmp_path_factory.mktemp("copy")
    without_caches = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        source, target = REPOSITORY / name, copy / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=without_caches)
        else:
            shutil.copy(source, target)
    assert "services/price_watch" in run(copy, "infra/template/create.py", NAME)
    return copy


def test_nothing_of_the_template_is_left_in_it(repository: Path) -> None:
    texts = [str(path) + path.read_text() for path in (repository / "services" / NAME).rglob("*") if path.is_file()]
    assert len(texts) > 15
    assert [text for text in texts if "newborn" in text.lower() or "8099" in text] == []


def test_it_is_clean_and_typed(repository: Path) -> None:
    run(repository, "-m", "ruff", "check", f"services/{NAME}")
    run(repository, "-m", "ruff", "format", "--check", f"services/{NAME}")
    # Its own types alone: reading those of every library anew takes a minute, which `make check` spends.
    run(
        repository,
        "-m",
        "mypy",
        "--follow-imports=skip",
        "--allow-subclassing-any",
        "--allow-untyped-decorators",
        f"services/{NAME}/src",
    )


def test_it_obeys_the_rules_of_the_house(repository: Path) -> None:
    output = run(repository, "-m", "pytest", "-q", "-rA", "tests/architecture", "-k", NAME)
    assert f"a_service_has_every_file_that_others_look_for[{NAME}]" in output
    assert "failed" not in output


@pytest.mark.stack
def test_its_own_tests_pass_and_it_starts(repository: Path) -> None:
    output = run(repository, "-m", "pytest", "-q", "-rA", f"services/{NAME}")
    assert "test_it_starts_hears_answers_and_ends" in output
    assert "failed" not in output


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Price", "lower-case"),
        ("price-watch", "lower-case"),
        ("", "lower-case"),
        ("../x", "lower-case"),
        ("json", "already"),
        ("monitor", "exists already"),
        (NAME, "exists already"),
    ],
)
def test_a_name_that_does_not_fit_is_refused_with_the_reason(repository: Path, name: str, words: str) -> None:
    assert words in run(repository, "infra/template/create.py", name, code=64)
