"""Where the parts answer: from the environment, or from the stack that runs in this folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

# Written by `driftloop up`.
RECORD: Final = "stack.json"


class Unknown(Exception):  # it says what is not known
    """Nobody said where a part answers."""


def address_of(part: str) -> str:
    """`DRIFTLOOP_<PART>`, else what `driftloop up` recorded here. Raises Unknown with what to do."""
    variable = f"DRIFTLOOP_{part.upper()}"
    if given := os.environ.get(variable):
        return given.rstrip("/")
    home = Path(os.environ.get("DRIFTLOOP_HOME", ".driftloop"))
    record = _recorded(home, part, variable)
    found = record.get("kafka") if part == "kafka" else record.get("parts", {}).get(part, {}).get("address")
    if not found:
        raise Unknown(f"{part} is not running in {home}: see `driftloop status`, or set {variable}")
    return str(found).rstrip("/")


def credentials() -> dict[str, str]:
    """The header that shows the key of `DRIFTLOOP_API_KEY`, where the services ask for one."""
    key = os.environ.get("DRIFTLOOP_API_KEY")
    return {"authorization": f"Bearer {key}"} if key else {}


def _recorded(home: Path, part: str, variable: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((home / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError as absent:
        raise Unknown(f"no address of {part}: start a stack here with `driftloop up`, or set {variable}") from absent
    except ValueError as odd:
        raise Unknown(f"{home / RECORD} can't be read ({odd}): start the stack again, or set {variable}") from odd
    return record
