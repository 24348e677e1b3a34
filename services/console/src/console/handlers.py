"""Hears every control topic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from console.board import Board
from driftloop_contracts import AnyEvent, Topic

Hears = Callable[["Console", AnyEvent], Awaitable[list[AnyEvent]]]


class Console:
    """Keeps nothing that a replay would not bring back."""

    def __init__(self, board: Board) -> None:
        self.board = board

    async def on_event(self, event: AnyEvent, topic: Topic) -> list[AnyEvent]:
        """The board shows it. Nothing follows."""
        self.board.hear(event, topic.name)
        return []


def on_event_of(topic: Topic) -> Hears:
    """`Console.on_event` for events of this topic."""

    async def hear(console: Console, event: AnyEvent) -> list[AnyEvent]:
        return await console.on_event(event, topic)

    return hear
