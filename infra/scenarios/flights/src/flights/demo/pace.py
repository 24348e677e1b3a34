"""How fast the month is replayed at most."""

from __future__ import annotations

import asyncio
import time
from typing import Final

AT_ONCE_S: Final = 0.05


class Pace:
    """So many events a second on average since the first; what a stall held up is caught up as fast as the circle follows."""

    def __init__(self, per_second: float | None) -> None:
        """per_second: None is as fast as the circle follows."""
        self.per_second = per_second
        self._began: float | None = None
        self.sent = 0
        """Events until now."""

    async def keep(self, events: int) -> None:
        """So many more are sent; returns when the next ones are due."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        self.sent += events
        if self.per_second is not None and (early := self._began + self.sent / self.per_second - now) > AT_ONCE_S:
            await asyncio.sleep(early)

    def measured(self) -> float:
        """Events a second since the first was sent; 0 before."""
        took = time.monotonic() - self._began if self._began is not None else 0.0
        return self.sent / took if took else 0.0
