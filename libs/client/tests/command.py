"""The `driftloop` command as a person meets it: words in; exit code, what is said and what is complained out."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from driftloop.cli.app import main


def driftloop(*words: str, **environment: str) -> tuple[int, str, str]:
    """Runs it in this process: starting Python anew for each word would cost seconds."""
    said, complained = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["driftloop", *words]),
        patch.dict(os.environ, {"COLUMNS": "500", "TERM": "dumb", **environment}),
        redirect_stdout(said),
        redirect_stderr(complained),
    ):
        code = _code(complained)
    return code, said.getvalue(), complained.getvalue()


def _code(complained: io.StringIO) -> int:
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            # As the interpreter does it.
            complained.write(end.code + "\n")
            return 1
        return int(end.code or 0)
    return 0
