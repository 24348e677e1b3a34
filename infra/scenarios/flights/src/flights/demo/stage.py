"""The stack of the demo: a folder of its own, so that it never touches what a user keeps in theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import flights

HOME: Final = Path(".driftloop") / "demo"
CODE: Final = Path(flights.__file__).parents[1]


class NotUp(Exception):  # what happened
    """The stack did not start; its own words are on the screen."""


@contextmanager
def stage(*, keep: bool) -> Iterator[None]:
    """A fresh stack with every service, found by `driftloop.addresses` inside the block; stopped after it unless kept."""
    os.environ["DRIFTLOOP_HOME"] = str(HOME.resolve())
    local("down", quiet=True)
    # What an earlier demo left is dropped: the same month twice in one log would be another story.
    shutil.rmtree(HOME, ignore_errors=True)
    if local("up", "--detach", "--code-path", str(CODE)):
        raise NotUp("the stack did not start: see above, and `driftloop doctor`")
    try:
        yield
    finally:
        if not keep:
            local("down", quiet=True)


def local(*words: str, quiet: bool = False) -> int:
    """Runs a command of the local stack; its exit code."""
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run([sys.executable, "-m", "driftloop_local", *words], stdout=output, check=False).returncode
