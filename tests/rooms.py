"""One room of handlers behind an inbox, with what can happen to a message on its way: the runner's promise, in one function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from driftloop_bus.errors import TryAgain
from driftloop_bus.testing import MemoryLedger
from driftloop_contracts import AnyEvent

Fate = Literal["well", "drop_ack", "before_commit", "after_commit"]
Hear = Callable[[Any, Any], Awaitable[Sequence[AnyEvent]]]


class Death(BaseException):
    """The process ends here."""


class Room:
    """Messages are handled one by one, each in a transaction with its inbox row and what follows."""

    def __init__(self, hear: Hear, ledger: MemoryLedger | None = None) -> None:
        self.ledger, self._hear = ledger or MemoryLedger(), hear
        self.said: list[AnyEvent] = []
        """What followed from commits, in their order."""
        self.heard: list[Any] = []
        """What was handled, once each, in the order of the commits."""
        self.told: list[Any] = []
        """Both: what was handled, and behind each what followed."""

    async def deliver(self, event: Any, fate: Fate = "well") -> None:
        """The event has its effects, unless its reader dies first; whoever does not know is told again."""
        self.ledger.lose_next_answers = 1 if fate == "drop_ack" else 0
        try:
            await self._handled(event, fate)
        except TryAgain:
            await self._handled(event, "well")
        except Death:
            return

    async def _handled(self, event: Any, fate: Fate) -> None:
        said: list[AnyEvent] = []
        commits, new = self.ledger.commits, False
        try:
            async with self.ledger.transaction() as tx:
                (new,) = await tx.unseen([event.id])
                said = [*await self._hear(tx.connection, event)] if new else []
                if fate == "before_commit":
                    raise Death
        finally:
            if self.ledger.commits > commits:
                self.said += said
                self.heard += [event] if new else []
                self.told += [event, *said] if new else []
        if fate == "after_commit":
            raise Death
