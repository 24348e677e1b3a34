"""Small disks that can be filled to their last byte, and given room again. Mounting one takes root's right."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BALLAST: Final = "ballast"
UNMOUNTED_WITHIN_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """One file system of a few MiB, in memory."""

    folder: Path

    def fill(self) -> int:
        """Nothing more can be written; how many bytes that took."""
        written = 0
        file = os.open(self.folder / BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            # Page by page at the end: whole blocks would leave a rest.
            for size in (1 << 20, 1 << 12):
                written += _until_full(file, b"\0" * size)
        finally:
            os.close(file)
        return written

    def free(self) -> None:
        """There is room again."""
        (self.folder / BALLAST).unlink(missing_ok=True)


def _until_full(file: int, block: bytes) -> int:
    written = 0
    while True:
        try:
            written += os.write(file, block)
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
            return written


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[SmallDisk]:
    """A disk of so many MiB at the folder, which is made. Raises CalledProcessError where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        _unmount(folder)


def _unmount(folder: Path) -> None:
    """Whoever had files open there may take a moment to be gone."""
    deadline = time.monotonic() + UNMOUNTED_WITHIN_S
    while subprocess.run(["umount", str(folder)], check=False, capture_output=True).returncode != 0:
        if time.monotonic() > deadline:
            subprocess.run(["umount", "-l", str(folder)], check=True)
            return
        time.sleep(0.2)
