"""Where the parts answer: from the environment, or from the stack that runs in this folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

# Written by `driftloop up`.
RECORD: Final = Path("stack.json")


class Unknown(Exception):  # it says what is not known
    """Nobody said where a part answers."""


def address_of(part: str) -> str:
    """`DRIFTLOOP_<PART>`, else what `driftloop up` recorded here. Raises Unknown with what to do."""
    variable = f"DRIFTLOOP_{part.upper()}"
    if given := os.environ.get(variable):
        return given.rstrip("/")
    home = Path(os.environ.get("DRIFTLOOP_HOME", ".driftloop"))
    try:
        record = json.loads((home / RECORD).read_text())
    except FileNotFoundError as absent:
        raise Unknown(f"no address of {part}: start a stack here with `driftloop up`, or set {variable}") from absent
    found = record["kafka"] if part == "kafka" else record["parts"].get(part, {}).get("address")
    if not found:
        raise Unknown(f"{part} is not running in {home}: see `driftloop status`, or set {variable}")
    return str(found)
