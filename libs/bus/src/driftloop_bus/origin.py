"""Where and when a record came to the log first. One that was redriven from a dead letter says so in its headers.

What a record leaves out (its id, its time) is made up from its place: redriven, it must be made up as before.
"""

from __future__ import annotations

from typing import Final

from driftloop_bus.errors import Position
from driftloop_bus.ports import Record

REDRIVEN: Final = "redriven_"
"""What the names of our headers on a redriven record begin with."""
LETTER: Final = "redriven_letter"
PARTITION: Final = "redriven_partition"
OFFSET: Final = "redriven_offset"
TIMESTAMP_MS: Final = "redriven_timestamp_ms"


def first_position(record: Record) -> Position:
    """The record's place; of a redriven one, the place of the original."""
    first = _first(record)
    return Position(record.topic, first[0], first[1]) if first else record.position


def first_logged_ms(record: Record) -> int:
    """When the log took it, in ms since 1970; of a redriven one, when it took the original."""
    first = _first(record)
    return first[2] if first else record.timestamp_ms


def _first(record: Record) -> tuple[int, int, int] | None:
    """Partition, offset and time of the original. None where nothing was redriven, or a stranger made such headers up."""
    given = dict(record.headers)
    told = [given.get(name) or b"" for name in (PARTITION, OFFSET, TIMESTAMP_MS)]
    if LETTER not in given or not all(text.isdigit() for text in told):
        return None
    partition, offset, timestamp_ms = (int(text) for text in told)
    return partition, offset, timestamp_ms
