"""Every service as its composition root makes it, and its page."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from unittest.mock import patch

from tree import SERVICES

from driftloop_kit.service import Service
from driftloop_kit.settings import ServiceSettings, from_environment

NAMES = [source.name for source in SERVICES]


def place(name: str, folder: Path) -> dict[str, str]:
    """All that any service must be told; nothing is connected to."""
    return {
        "PATH": os.environ["PATH"],
        "DRIFTLOOP_KAFKA": "127.0.0.1:9",
        "DRIFTLOOP_ARTIFACTS": (folder / "artifacts").as_uri(),
        "DRIFTLOOP_HISTORY": (folder / "history").as_uri(),
        "DRIFTLOOP_DATA": str(folder / "data"),
        f"{name.upper()}_HTTP_PORT": "0",
        f"{name.upper()}_DATABASE_URL": f"postgresql://{name}@127.0.0.1:9/{name}",
    }


def settings_of(name: str) -> type[ServiceSettings]:
    found: type[ServiceSettings] = importlib.import_module(f"{name}.settings").Settings
    return found


def built(name: str, folder: Path) -> Service[object]:
    """The service as its composition root makes it."""
    with patch.dict(os.environ, place(name, folder), clear=True):
        made: Service[object] = importlib.import_module(f"{name}.__main__").build(from_environment(settings_of(name)))
    return made


def part(text: str, heading: str) -> str:
    """From the heading, bold or marked, to the next of its kind."""
    found = re.search(rf"^(\*\*|#+ ){heading}\b.*?(?=^(?:\*\*[A-Z]|#+ )|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def page(name: str) -> str:
    source = next(source for source in SERVICES if source.name == name)
    return (source.parents[1] / "README.md").read_text()
