"""Artifacts that a disk has spoilt: one bit flipped, or gone."""

from __future__ import annotations

import random
from pathlib import Path

from driftloop_artifacts import Digest


def spoil(folder: Path, digest: str, moments: random.Random, *, delete: bool) -> None:
    """The blob of this digest lacks, or holds one wrong bit."""
    path = folder / Digest(digest).key
    if delete:
        path.unlink()
        return
    data = bytearray(path.read_bytes())
    data[moments.randrange(len(data))] ^= 1 << moments.randrange(8)
    path.write_bytes(data)
