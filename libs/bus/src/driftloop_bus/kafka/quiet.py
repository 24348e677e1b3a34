"""aiokafka's own log, bounded: it repeats itself without limit while a broker is away."""

from __future__ import annotations

import logging
import time
from typing import Final


class _Seldom(logging.Filter):
    """Lets each message of a place in the code through once in a while."""

    EACH_S: Final = 30.0

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, place = time.monotonic(), (record.name, record.lineno)
        if now - self._said_at.get(place, -self.EACH_S) < self.EACH_S:
            return False
        self._said_at[place] = now
        return True


_SELDOM: Final = _Seldom()
_LOUD: Final = (
    "aiokafka", "aiokafka.client", "aiokafka.conn", "aiokafka.consumer.fetcher", "aiokafka.consumer.consumer",
    "aiokafka.consumer.group_coordinator", "aiokafka.producer.sender", "aiokafka.producer.producer", "aiokafka.cluster",
    "aiokafka.coordinator.assignors.range", "aiokafka.admin.client",
)  # fmt: skip


def quiet_down() -> None:
    """From now on each of aiokafka's complaints is logged at most once in 30 s."""
    # A filter is not inherited by the loggers below it: each that speaks gets it.
    for name in _LOUD:
        logger = logging.getLogger(name)
        if _SELDOM not in logger.filters:
            logger.addFilter(_SELDOM)
