"""What is measured of each closed window: losses of every scored version, their floors, and how much truth has come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftloop_contracts import AnyEvent, Cause
from monitor.domain.losses import DAY_US, FloatArray, last_24h_rate, losses
from monitor.domain.rows import Joined, paired
from monitor.domain.rules import Rules
from monitor.domain.state import ModelState
from monitor.handlers import told
from monitor.handlers.told import Span
from monitor.ports import Coverage, Rows


@dataclass(frozen=True, slots=True)
class OfWindow:
    """The window's measurements, and the two numbers that the watch remembers."""

    events: list[AnyEvent]
    gate_loss: float | None
    floor: float | None


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures a model's windows."""

    rows: Rows

    async def of_window(self, state: ModelState, rules: Rules, joined: Joined, span: Span, cause: Cause) -> OfWindow:
        """The window's MeasurementTaken events; the champion's version comes first in `joined`'s versions."""
        events: list[AnyEvent] = []
        for version in sorted(set(joined.versions)):
            events += _losses(state.model, rules, joined.of(version), version, span, cause)
            coverage = await self.coverage(state, rules, version, span.until_us)
            if coverage.predictions:
                share = coverage.labelled / coverage.predictions
                events.append(told.measured(cause, state.model, version, "coverage", span, coverage.predictions, share))
        events += _gains(state, rules, joined, span, cause)
        ours, floors = await self._floors(state, rules, joined, span)
        events += [
            told.measured(cause, state.model, _champion(state), f"loss:{name}", span, n, mean)
            for name, n, mean in floors
        ]
        return OfWindow(events, ours, next((mean for name, _, mean in floors if name == "last_24h_rate"), None))

    async def coverage(self, state: ModelState, rules: Rules, version: str, at_us: int) -> Coverage:
        """Of the predictions whose outcome was due in the window that ends then."""
        until_us = at_us - rules.expected_us
        return await self.rows.coverage(state.model, version, until_us - rules.window_us, until_us, at_us)

    async def _floors(
        self, state: ModelState, rules: Rules, joined: Joined, span: Span
    ) -> tuple[float | None, list[tuple[str, int, float]]]:
        """The champion's mean gate loss, and the floors' on its rows as far as they can be said."""
        mine = joined.of(_champion(state))
        ours = mine.loss(rules.gate_loss)
        if rules.gate_loss == "squared" or len(mine) == 0:
            return _mean(ours), []
        since_us = int(mine.times_us.min()) - DAY_US - 1
        arrivals = await self.rows.arrivals(state.model, since_us, int(mine.times_us.max()))
        rates = {"last_24h_rate": last_24h_rate(mine.times_us, arrivals.arrived_us, arrivals.values)}
        n, total = state.outcomes
        if n:
            rates["base_rate"] = np.full(len(mine), total / n)
        floors = {name: losses(rules.gate_loss, rate, mine.values) for name, rate in rates.items()}
        return _mean(ours), [
            (name, int(np.isfinite(loss).sum()), float(np.nanmean(loss)))
            for name, loss in floors.items()
            if np.isfinite(loss).any()
        ]


def _losses(model: str, rules: Rules, mine: Joined, version: str, span: Span, cause: Cause) -> list[AnyEvent]:
    events: list[AnyEvent] = [told.measured(cause, model, version, "rows", span, len(mine), float(len(mine)))]
    for name in dict.fromkeys([rules.trigger_loss, rules.gate_loss]):
        loss = mine.loss(name)
        n, mean = int(np.isfinite(loss).sum()), _mean(loss)
        if mean is not None:
            events.append(told.measured(cause, model, version, f"loss:{name}", span, n, mean))
    return events


def _gains(state: ModelState, rules: Rules, joined: Joined, span: Span, cause: Cause) -> list[AnyEvent]:
    """What a challenger would gain over the champion, and what the last promotion gained over its predecessor."""
    events: list[AnyEvent] = []
    for comparison in (state.rollout, state.guard):
        if comparison is None:
            continue
        pair = paired(joined, comparison.champion, comparison.other, rules.gate_loss)
        if len(pair.times_us):
            gain = float((pair.champion - pair.challenger).mean())
            signal = f"gain:{rules.gate_loss}"
            events.append(told.measured(cause, state.model, comparison.other, signal, span, len(pair.times_us), gain))
    return events


def _mean(loss: FloatArray) -> float | None:
    finite = loss[np.isfinite(loss)]
    return float(finite.mean()) if len(finite) else None


def _champion(state: ModelState) -> str:
    return state.watch.version if state.watch else ""
