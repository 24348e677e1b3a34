"""Processes whose clock is wrong: libfaketime in front of the C library."""

from __future__ import annotations

from pathlib import Path
from typing import Final

# For programs with threads. Debian, Ubuntu and Fedora put it in one of these.
PLACES: Final = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


def skewed(by: str) -> dict[str, str]:
    """Variables of a process whose wall clock goes wrong by so much, `+3d`, while its timers go right.

    Raises FileNotFoundError, with the remedy, where libfaketime is missing: a check that can't be run has not passed.
    """
    found = [str(path) for place in PLACES for path in Path("/").glob(place.removeprefix("/"))]
    if not found:
        raise FileNotFoundError("libfaketime is missing: apt-get install faketime")
    return {"LD_PRELOAD": found[0], "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
