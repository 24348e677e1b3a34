"""The wall clock, for leases, retries and people. Decisions take event time from their input."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Now, with its offset."""
    return datetime.now(UTC)
