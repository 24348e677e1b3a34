"""The whole circle as processes: one for all journeys, each of which brings a model of its own."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftloop_local.stack import LocalStack

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def circle() -> Iterator[LocalStack]:
    """Every service on a Kafka and a Postgres of their own; addresses are found through DRIFTLOOP_HOME."""
    home = Path(tempfile.mkdtemp(prefix="dl-"))
    home.chmod(0o755)
    patch = pytest.MonkeyPatch()
    patch.setenv("DRIFTLOOP_HOME", str(home))
    with LocalStack(home, code_path=str(HERE / "code")) as running:
        yield running
    patch.undo()
    shutil.rmtree(home)
