"""The event that something follows from, as the domain remembers it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """Its id, its event time and the first event of its chain."""

    id: str
    time_us: int
    correlation: str
    tenant: str = "default"
