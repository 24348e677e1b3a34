"""Event times that lie far ahead of their stream: one wrong date must not carry the clock away.

A clock never goes back, so a row dated 2099 would end a model's monitoring for good. Such rows are left out, until so many
in a row agree that the stream itself has moved on: after a silence of months that is what happened. Only the order of the
stream's own log decides, so neither the sizes of polls nor the other topic can change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.domain.clock import Clocks, IntArray, Kind, Run
from monitor.domain.losses import DAY_US

# Longer than any outcome is waited for; a stream may rest for that long and go on at once.
AHEAD_US: Final = 40 * DAY_US
# So many rows in a row that are far ahead, within AHEAD_US of each other, are the stream and no mistake.
AGREEING_ROWS: Final = 100


def believed(
    clocks: Clocks, kind: Kind, streams: Sequence[str], times_us: IntArray, begun_us: int
) -> tuple[Clocks, NDArray[np.bool_]]:
    """Which rows' times are believed, shape (n,); the clocks remember the runs of rows that are not.

    begun_us: what a stream without a clock is held to, 0 for nothing. The rows are in log order.
    """
    kept, ahead = np.ones(len(times_us), bool), dict(clocks.ahead)
    column = np.array(streams, dtype=object)
    for stream in dict.fromkeys(streams):
        rows = np.flatnonzero(column == stream)
        key, clock = f"{kind}:{stream}", clocks.of(kind).get(stream, begun_us)
        run = ahead.pop(key, None)
        if clock and int(times_us[rows].max()) - AHEAD_US > clock:
            kept[rows], run = _followed(times_us[rows].tolist(), clock, run)
            ahead |= {key: run} if run else {}
    return (clocks if ahead == clocks.ahead else replace(clocks, ahead=ahead)), kept


def _followed(times_us: Sequence[int], clock: int, run: Run | None) -> tuple[list[bool], Run | None]:
    """One stream's rows, one by one."""
    kept = []
    for time_us in times_us:
        run = _run(run, time_us) if time_us - AHEAD_US > clock else None
        kept.append(run is None or run.rows >= AGREEING_ROWS)
        if kept[-1]:
            clock, run = max(clock, time_us), None
    return kept, run


def _run(run: Run | None, time_us: int) -> Run:
    """The run after one more row far ahead. One that is still farther does not count; one far before begins anew."""
    if run is None or time_us < run.first_us - AHEAD_US:
        return Run(time_us, 1)
    return run if time_us > run.first_us + AHEAD_US else replace(run, rows=run.rows + 1)
