"""What the bus tells its surroundings: one kind of note, made around handlers and never between their steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "handled", "ticked", "skipped", "parked", "tried_again", "bug", "fenced", "flooded", "claimed", "careful", "revoked", "gap",
    "hint_lost", "relayed", "recalled", "relay_tried_again", "spooled", "spool_sent", "spool_dropped", "spool_torn",
    "waiting",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened, to be counted, timed or logged by whoever listens."""

    kind: Kind
    topic: str = ""
    partition: int = -1
    offset: int = -1
    records: int = 0
    seconds: float = 0.0
    reason: str = ""
    error: BaseException | None = None


Observer = Callable[[Note], None]
"""Called in line: it must be fast and must not raise."""


def unobserved(note: Note) -> None:
    """Nobody listens."""
