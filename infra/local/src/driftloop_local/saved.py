"""What a backup consists of: a manifest that names every file by its digest, and for each part the point it stands for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from driftloop_local.errors import StackRefused

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
PIECE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Manifest:
    """The recovery point, part by part. What was acknowledged before `begun_at` is in the backup."""

    begun_at: str
    ended_at: str
    databases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name to the server's LSN and time at its snapshot, which holds every transaction committed by then."""
    topics: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Topic and partition to `next` (records before it are in the backup) and `records`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Every file's SHA-256, by its place in the backup."""
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """It is there last: a folder without it is no backup."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The folder's manifest. Raises StackRefused where there is none, or one of another format."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StackRefused(f"{folder} holds no {MANIFEST}: it is no backup, or one that was cut short",
                           "name another folder, or back up again") from error  # fmt: skip
    if content.get("format") != FORMAT:
        raise StackRefused(f"the backup has format {content.get('format')}, this is {FORMAT}", "use its release")
    return Manifest(**content)


def damages(folder: Path, manifest: Manifest) -> Iterator[str]:
    """One line for each file that is missing, differs, or is none of the backup's. None: it is as it was written."""
    there = set(files_of(folder))
    for name, digest in manifest.files.items():
        if name not in there:
            yield f"{name} is missing"
        elif digest_of(folder / name) != digest:
            yield f"{name} is not what was written"
    yield from (f"{name} is not of this backup" for name in sorted(there - manifest.files.keys() - {MANIFEST}))


def files_of(folder: Path) -> list[str]:
    """Every file below the folder, by its place in it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def now() -> str:
    return datetime.now(UTC).isoformat()
