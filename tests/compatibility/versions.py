"""The product as it was at another commit, beside today's: its sources in a folder, before ours on a process' path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.faults.results import ROOT

PRODUCT: Final = ("contracts", "libs", "services")


def previous() -> str:
    """The commit before the last one that changed the product, or what DRIFTLOOP_PREVIOUS names."""
    given = os.environ.get("DRIFTLOOP_PREVIOUS")
    return (
        _git("rev-parse", given)
        if given
        else _git("rev-parse", _git("log", "-1", "--format=%H", "--", *PRODUCT) + "~1")
    )


def unpacked(commit: str, folder: Path) -> dict[str, str]:
    """The commit's product is in the folder; the variables of a process that runs it.

    Raises AssertionError when such a process would still run today's.
    """
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit, *PRODUCT], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    variables = {"PYTHONPATH": os.pathsep.join(sorted(str(path) for path in folder.glob("**/src")))}
    where = "import monitor, driftloop_kit, driftloop_contracts as c; print(monitor.__file__, driftloop_kit.__file__, c.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", where], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert said.stdout.count(str(folder)) == 3, said.stdout
    return variables


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
