"""A loop that does not turn answers nobody and commits nothing: the process ends with 1, and its supervisor starts it again."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
from typing import Final

BEAT_S: Final = 1.0
# Longer than the slowest batch may take, and as long as a session: by then the group has given the partitions away.
BLOCKED_S: Final = 30.0


async def keep_turning(blocked_s: float = BLOCKED_S) -> None:
    """Runs until it is cancelled. Once the loop has stood still for so long, the process says where, and ends with 1."""
    beats, over = _Beats(), threading.Event()
    threading.Thread(target=_watch, args=(beats, over, blocked_s), name="turning", daemon=True).start()
    try:
        while True:
            beats.count += 1
            await asyncio.sleep(BEAT_S)
    finally:
        over.set()


class _Beats:
    """Written by the loop, read by the thread."""

    count = 0


def _watch(beats: _Beats, over: threading.Event, blocked_s: float) -> None:
    seen, still_s = 0, 0.0
    while not over.wait(BEAT_S):
        # Looks are counted, not the clock: a process that was stopped for an hour and goes on has looked once.
        seen, still_s = beats.count, still_s + BEAT_S if beats.count == seen else 0.0
        if still_s >= blocked_s:
            sys.stderr.write(f"the event loop has stood still for {still_s:g} s; here:\n")
            faulthandler.dump_traceback(all_threads=True)
            os._exit(1)
