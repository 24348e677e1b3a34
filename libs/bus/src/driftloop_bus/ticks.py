"""Methods that the wall clock calls, each in a transaction of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Generic

from driftloop_bus.errors import TryAgain
from driftloop_bus.handling import Handling
from driftloop_bus.observer import Note, Observer
from driftloop_bus.ports import Ledger
from driftloop_bus.routes import H, Route
from driftloop_bus.work import told


class Ticks(Generic[H]):
    """What is due by the clock. One that fails comes again at its next time."""

    def __init__(
        self,
        routes: Sequence[Route[H]],
        ledger: Ledger,
        handling: Handling[H],
        wake: Callable[[], None],
        observe: Observer,
    ) -> None:
        self._ledger, self._handling, self._wake, self._observe = ledger, handling, wake, observe
        self._due = {route: time.monotonic() for route in routes}

    def wait_s(self, at_most: float) -> float:
        """How long until something is due."""
        now = time.monotonic()
        return max(0.0, min([at_most, *(due - now for due in self._due.values())]))

    async def due(self) -> None:
        """What is due has been called."""
        for route, due in self._due.items():
            if due <= time.monotonic():
                self._due[route] = time.monotonic() + (route.seconds or 0)
                await self._tick(route)

    async def _tick(self, route: Route[H]) -> None:
        started = time.monotonic()
        name = getattr(route.method, "__qualname__", str(route.method))
        try:
            async with self._ledger.transaction() as tx:
                follows = await told(route.method(self._handling.handlers(tx), datetime.now(UTC)))
                published = await self._handling.publish(tx, follows)
        except TryAgain as error:
            self._observe(Note("tried_again", reason=f"{name}: {error.message}", error=error))
        except Exception as error:  # noqa: BLE001  # a bug in a tick must not end the loop; it is told and comes again
            self._observe(Note("bug", reason=f"{name}: {error}", error=error))
        else:
            self._observe(Note("ticked", seconds=time.monotonic() - started, reason=name))
            if published:
                self._wake()
