"""How far a reader is behind the log: in records, and in seconds since the oldest of them was appended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from driftloop_bus.ports import TopicPartition


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a reader stands in one partition. Times are the log's, in ms since 1970."""

    next_offset: int
    oldest_ms: int | None = None
    """When the record at `next_offset` was appended; None while it was not fetched."""
    handled_ms: int | None = None
    """When the last record before it was appended; None while none was handled."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Of a topic's partitions that are read here: all of their records, and the oldest's age."""

    records: int = 0
    seconds: float = 0.0

    def and_also(self, other: Lag) -> Lag:
        """Both together."""
        return Lag(self.records + other.records, max(self.seconds, other.seconds))


class Lags:
    """Remembers since when each partition is behind: a record that nobody has fetched yet has no known age."""

    def __init__(self) -> None:
        self._behind_ms: dict[TopicPartition, float] = {}

    def of(
        self,
        standings: Mapping[TopicPartition, Standing],
        ends: Mapping[TopicPartition, int],
        now_ms: float | None = None,
    ) -> dict[str, Lag]:
        """By topic. now_ms: by the clock that the log's times are of; this machine's if not given."""
        now_ms = time.time() * 1e3 if now_ms is None else now_ms
        found: dict[str, Lag] = {}
        behind: dict[TopicPartition, float] = {}
        for place, standing in standings.items():
            records = max(0, ends.get(place, 0) - standing.next_offset)
            if records:
                behind[place] = self._behind_ms.get(place, now_ms)
            since_ms = _since_ms(standing, behind[place]) if records else now_ms
            lag = Lag(records, max(0.0, now_ms - since_ms) / 1e3)
            found[place[0]] = found.get(place[0], Lag()).and_also(lag)
        self._behind_ms = behind
        return found


def _since_ms(standing: Standing, behind_ms: float) -> float:
    """When the oldest record that is not handled was appended, as far as that is known.

    Between two polls it is not: it came after the last one that was handled, and before it was seen that one is missing.
    """
    if standing.oldest_ms is not None:
        return standing.oldest_ms
    return behind_ms if standing.handled_ms is None else max(standing.handled_ms, behind_ms)
