"""Says how far this process is behind the log, on `/metrics` and `/ready`, and when it is in danger of losing records."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from driftloop_bus.errors import TryAgain
from driftloop_bus.lag import Lag, Lags
from driftloop_bus.ports import TopicPartition
from driftloop_contracts import BY_NAME
from driftloop_contracts.topics import FOREVER

if TYPE_CHECKING:
    from driftloop_kit.organs import Organs
    from driftloop_kit.service import Context

H = TypeVar("H")
# One request for all partitions; what is said is at most so much older than the log.
ENDS_EACH_S: Final = 0.5
# Who is farther behind than this share of a topic's retention should be seen to before records expire unread.
ALARM_AT: Final = 0.5
A_DAY_S: Final = 86_400.0


class Lagging:
    """The lag of one process, by topic."""

    def __init__(self, context: Context[H], organs: Organs[H]) -> None:
        self._context, self._organs = context, organs
        self._ends: Mapping[TopicPartition, int] = {}
        self._lags = Lags()
        self._said: dict[str, Lag] = {}
        context.health.fact("lag", self._shown)

    async def look_for_ever(self) -> None:
        """Knows where the log ends, or ended when the broker last said it."""
        while True:
            if topics := sorted({topic for topic, _ in self._organs.standings()}):
                try:
                    self._ends = await self._context.log.end_offsets(topics)
                except TryAgain as error:
                    self._context.telemetry.log.debug("ends_unknown", reason=error.message)
            await asyncio.sleep(ENDS_EACH_S)

    def say(self) -> None:
        """What is shown is of this moment. Topics that are no longer read here have no lag here."""
        found = self._lags.of(self._organs.standings(), self._ends)
        self._said = dict.fromkeys(self._said, Lag()) | found
        for topic, lag in self._said.items():
            self._context.telemetry.set("driftloop_lag_records", lag.records, topic)
            self._context.telemetry.set("driftloop_lag_seconds", lag.seconds, topic)
        late = [text for topic, lag in found.items() if (text := alarm(topic, lag))]
        self._context.health.limp("lag", not late, "; ".join(late))

    def _shown(self) -> dict[str, Any]:
        return {
            topic: {"records": lag.records, "seconds": round(lag.seconds, 1)}
            for topic, lag in sorted(self._said.items())
            if lag.records
        }


def alarm(topic: str, lag: Lag) -> str | None:
    """Why somebody should look at this, for people; None while there is time."""
    days = BY_NAME[topic].retention_days if topic in BY_NAME else FOREVER
    if days == FOREVER or lag.seconds <= ALARM_AT * days * A_DAY_S:
        return None
    return f"{topic} is {lag.seconds / A_DAY_S:.1f} days behind; its records are kept for {days} days"
