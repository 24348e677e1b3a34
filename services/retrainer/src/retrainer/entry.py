"""The code that a training runs: the declared function, and digests that say exactly which code and libraries it was."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import pkgutil
import sys
from collections.abc import Callable, Iterator
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pyarrow as pa

Train = Callable[[pa.Table, str, dict[str, Any], int], Any]
MAX_NAMES: Final = 20


class EntryRefused(Exception):  # a fact, like ModelRefused
    """The declaration's entry names nothing that can be called."""


def train_function(entry: str, code_path: list[str]) -> Train:
    """The function behind `module:function`. Raises EntryRefused with what is there instead; what importing raises passes."""
    name, function = entry.split(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        # A module that the code itself lacks is the code's error, and passes.
        if missing.name is None or not f"{name}.".startswith(f"{missing.name}."):
            raise
        there = sorted({one.name for one in pkgutil.iter_modules(code_path)})
        raise EntryRefused(
            f"train.entry {entry}: there is no module {missing.name}; RETRAINER_CODE_PATH holds {_few(there)}"
        ) from missing
    train = getattr(module, function, None)
    if not callable(train):
        there = sorted(word for word, value in vars(module).items() if isfunction(value) and value.__module__ == name)
        raise EntryRefused(f"train.entry {entry}: {name} has no function {function}; it has {_few(there)}")
    return train  # type: ignore[no-any-return]  # whatever it is, its result is checked


def code_digest(entry: str) -> str:
    """sha256 over the source files of the entry's top-level package, or of its one module."""
    module = sys.modules[entry.split(":")[0].split(".")[0]]
    digest = hashlib.sha256()
    for name, path in _sources(module):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"


def environment_digest() -> str:
    """sha256 over name and version of every installed distribution: the lock that this process really ran with."""
    # The folder names say it; reading each one's metadata costs a second.
    found = {_folder_of(one) for one in importlib.metadata.distributions()}
    return f"sha256:{hashlib.sha256(chr(10).join(sorted(found)).encode()).hexdigest()}"


def _folder_of(one: importlib.metadata.Distribution) -> str:
    folder = getattr(one, "_path", None)
    return folder.name if folder is not None else f"{one.name}-{one.version}.dist-info"


def _sources(module: ModuleType) -> Iterator[tuple[str, Path]]:
    folders = [Path(folder) for folder in getattr(module, "__path__", [])]
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            yield path.relative_to(folder).as_posix(), path
    if not folders and module.__file__:
        yield Path(module.__file__).name, Path(module.__file__)


def _few(names: list[str]) -> str:
    return (
        ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")
        or "nothing"
    )
