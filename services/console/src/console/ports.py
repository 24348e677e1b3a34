"""What the console needs from outside."""

from __future__ import annotations

from typing import Protocol

from driftloop_contracts import AnyEvent


class Outlet(Protocol):
    """Where commands go."""

    async def publish(self, event: AnyEvent) -> None:
        """The log has acked the event. Raises TryAgain when it may not have: given again with its id it is the same one."""
