"""Looks at two versions, at declared times, on the outcomes that have arrived for both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from driftloop_contracts import AnyEvent
from monitor.domain import judge
from monitor.domain.losses import DAY_US
from monitor.domain.rows import paired
from monitor.domain.rules import Rules
from monitor.domain.state import Comparison, ModelState
from monitor.handlers import told
from monitor.ports import Rows

Followed = tuple[ModelState, list[AnyEvent]]


@dataclass(frozen=True, slots=True)
class Comparing:
    """Judges a challenger, and after a promotion the version that was promoted."""

    rows: Rows

    async def look(self, state: ModelState, rules: Rules, at_us: int) -> Followed:
        """The challenger is judged."""
        rollout = state.rollout
        if rollout is None:
            return state, []
        units = await self._units(state, rules, rollout, at_us)
        look = judge.look(units, rules, judge.seed_of(rollout.by.id), last=rollout.last)
        event = told.judged(state.model, rollout, at_us, look, rules)
        return replace(state, rollout=replace(rollout, looked=rollout.looked + 1)), [event]

    async def guard(self, state: ModelState, rules: Rules, at_us: int) -> Followed:
        """The version that was replaced is compared as a champion: worse means that the promotion was a mistake."""
        guard = state.guard
        if guard is None or guard.until_us <= at_us or guard.next_us > at_us:
            return replace(state, guard=None), []
        units = await self._units(state, rules, guard, at_us)
        look = judge.look(units, rules, judge.seed_of(guard.by.id), last=False)
        events: list[AnyEvent] = []
        if look.upper < 0 and look.verdict == "worse":
            events.append(told.rollback(state.model, guard, at_us, look, rules))
        return replace(state, guard=replace(guard, looked=guard.looked + 1)), events

    async def _units(self, state: ModelState, rules: Rules, comparison: Comparison, until_us: int) -> list[judge.Unit]:
        """The comparison's units of arrival, one after the other; the first and the last may be cut short."""
        units, after = [], comparison.since_us
        while after < until_us:
            close = int(rules.units.close_of(np.array([after + 1]))[0])
            both = await self.rows.joined(
                state.model, [comparison.champion, comparison.other], after, min(close, until_us)
            )
            pair = paired(both, comparison.champion, comparison.other, rules.gate_loss)
            if len(pair.times_us):
                arrivals = await self.rows.arrivals(
                    state.model, int(pair.times_us.min()) - DAY_US - 1, int(pair.times_us.max())
                )
                units.append(judge.reduced(pair, arrivals, rules, close))
            after = close
        return units
