"""The decisions that the watermark has made due, one after the other in event time.

Each step reads the rows that its decision rests on, lets the domain decide, and says what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from driftloop_contracts import AnyEvent
from monitor.domain.rules import Rules
from monitor.domain.state import Due, ModelState, next_due
from monitor.handlers.asking import Asking
from monitor.handlers.comparing import Comparing
from monitor.handlers.windows import Windows
from monitor.ports import Place

Followed = tuple[ModelState, list[AnyEvent]]


@dataclass(frozen=True, slots=True)
class Decisions:
    """Takes every decision of a model whose time has come."""

    windows: Windows
    comparing: Comparing
    asking: Asking

    async def due(self, state: ModelState, reached: dict[Place, int]) -> Followed:
        """No decision is due any more. reached: how far this very transaction takes its partitions."""
        events: list[AnyEvent] = []
        while state.rules is not None:
            due = next_due(state)
            horizon = due.at_us if due else state.clocks.watermark - 1
            asked = await self.asking.when_enough(state, state.rules, horizon, reached)
            state, more = asked or (await self._taken(state, state.rules, due, reached) if due else (state, []))
            events += more
            if not asked and not due:
                break
        return state, events

    async def _taken(self, state: ModelState, rules: Rules, due: Due, reached: dict[Place, int]) -> Followed:
        match due.kind:
            case "close":
                return await self.windows.close(state, rules, due.at_us)
            case "look":
                return await self.comparing.look(state, rules, due.at_us)
            case "guard":
                return await self.comparing.guard(state, rules, due.at_us)
            case "age":
                return await self.asking.of_age(state, rules, due.at_us, reached)
            case "wake":
                return await self.asking.woken(state, rules, due.at_us, reached)
            case "evict":
                return await self.windows.evict(state, due.at_us)
