"""What a burst has used goes back to the machine: glibc keeps it for the next one, which then does not fit into the gaps."""

from __future__ import annotations

import asyncio
import ctypes
import os
from typing import Final

EACH_S: Final = 30.0
# glibc moves this limit up to whatever was freed last, to 32 MiB: from then on whole fetches of a topic lie between small things
# that stay, and what is above the topmost of these is never given back.
MAPPED_FROM_BYTES: Final = 128 * 1024
# Else threads get a heap each, eight for a core, and what one has freed is of no use to the others: a burst is kept as often as
# threads took turns at it.
HEAPS: Final = 2
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def hold_little() -> None:
    """Large blocks are the machine's again as soon as they are freed, and threads share their heaps.

    For the beginning of a process. Nothing happens where the C library is not glibc.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(_M_ARENA_MAX, HEAPS)


def libraries_hold_little() -> None:
    """The allocators that deltalake and pyarrow bring give back what was freed; who starts the process may say otherwise.

    Before these libraries are loaded: they read it once. jemalloc would keep what each of eight arenas has freed for ten seconds,
    mimalloc what threads that are gone have used. Appends to the history come every half minute, and what one has used is not
    needed until the next; a second costs them a tenth of their time, none at all would cost four tenths.
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:2,dirty_decay_ms:1000")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


async def keep_trimmed(each_s: float = EACH_S) -> None:
    """For ever: what is free inside the heap is given back, too."""
    while True:
        await asyncio.sleep(each_s)
        await asyncio.to_thread(trim)


def trim() -> None:
    """Free pages of the heap are the machine's. Nothing happens where the C library is not glibc."""
    if malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        malloc_trim(0)
