"""What follows from a closed window: its measurements, and now and then an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop_contracts import AnyEvent
from driftloop_detect.windows import Judged
from monitor.domain import policy
from monitor.domain.deploy import Cleared
from monitor.domain.drifted import drifted, severity_of
from monitor.domain.link import Link
from monitor.domain.losses import DAY_US
from monitor.domain.rows import Joined
from monitor.domain.rules import Rules
from monitor.domain.state import Incident, ModelState, evicted_before
from monitor.domain.watch import Seen, Watch, calm, since_onset, stepped
from monitor.handlers import told
from monitor.handlers.heard import cause_of, link
from monitor.handlers.measures import Measures
from monitor.handlers.structure import Structure
from monitor.handlers.told import Span
from monitor.ports import Outcome, Rows

Followed = tuple[ModelState, list[AnyEvent]]
# Outcomes may come a month late; what met its prediction is kept a little longer, for the looks that follow.
UNMATCHED_US: Final = 30 * DAY_US
MATCHED_US: Final = 35 * DAY_US


@dataclass(frozen=True, slots=True)
class Windows:
    """Closes the champion's windows and hears what its detector says of them."""

    rows: Rows
    measures: Measures
    structure: Structure

    async def close(self, state: ModelState, rules: Rules, at_us: int) -> Followed:
        """The window is closed if it holds enough; else it grows."""
        watch = state.watch
        if watch is None:
            return state, []
        versions = _scored(state, watch)
        joined = await self.rows.joined(state.model, versions, watch.open_us, at_us)
        loss = joined.of(watch.version).loss(rules.trigger_loss)
        if np.isfinite(loss).sum() < rules.min_outcomes:
            return replace(state, watch=await self._grown(state, rules, watch, at_us)), []
        last = await self.rows.last_outcome(state.model, watch.open_us, at_us)
        return await self._closed(state, rules, watch, at_us, joined, _or_served(last, state))

    async def _grown(self, state: ModelState, rules: Rules, watch: Watch, at_us: int) -> Watch:
        """The next close to look at: in a silence of months not each of its windows."""
        return replace(watch, tried_us=max(at_us, rules.calendar.last_closed(await self._quiet_until(state, at_us))))

    async def _quiet_until(self, state: ModelState, at_us: int) -> int:
        arrival = await self.rows.next_arrival(state.model, at_us)
        return min(arrival or state.clocks.watermark, state.clocks.watermark)

    async def _closed(
        self, state: ModelState, rules: Rules, watch: Watch, at_us: int, joined: Joined, last: Link
    ) -> Followed:
        span, cause = Span(watch.open_us, at_us), cause_of(last)
        measurement = await self.measures.of_window(state, rules, joined, span, cause)
        mine = joined.of(watch.version)
        loss = mine.loss(rules.trigger_loss)
        finite = np.isfinite(loss)
        seen = Seen(
            at_us,
            float(loss[finite].mean()),
            int(finite.sum()),
            gate_loss=measurement.gate_loss,
            floor=measurement.floor,
        )
        watch, judged = stepped(watch, rules, seen)
        state = replace(state, watch=watch, outcomes=_added(state.outcomes, mine, finite))
        state, verdicts = await self._heard(state, rules, watch, judged, last)
        return await self._evicted(state, at_us), [*measurement.events, *verdicts]

    async def evict(self, state: ModelState, at_us: int) -> Followed:
        """What is too old is gone although no window has closed for long; a silence of months is passed over at once."""
        state = await self._evicted(state, at_us)
        before = evicted_before(await self._quiet_until(state, at_us))
        return replace(state, evicted_us=max(at_us, before)), []

    async def _evicted(self, state: ModelState, at_us: int) -> ModelState:
        """What is too old at this time is gone, but for the pairs of a window that still grows."""
        open_us = state.watch.open_us if state.watch else at_us
        matched_us = min(at_us - MATCHED_US, open_us)
        gone = await self.rows.evict(state.model, at_us - UNMATCHED_US, matched_us, at_us)
        await self.structure.tallies.evict(state.model, at_us - MATCHED_US)
        counts = {name: state.counts.get(name, 0) + gone.get(name, 0) for name in {*state.counts, *gone}}
        return replace(state, counts=counts, evicted_us=at_us)

    async def _heard(
        self, state: ModelState, rules: Rules, watch: Watch, judged: Judged | None, last: Link
    ) -> Followed:
        """What follows from the detector's word: an incident opens, changes or ends; almost always nothing."""
        incident = state.open("loss", rules.trigger_loss)
        if judged is None:
            return state, []
        if incident is None:
            return await self._alarm(state, rules, watch, judged, last) if judged.alarm else (state, [])
        if calm(watch, rules, incident.opened_us):
            return self._calmed(state, incident, judged.window.close_us, last)
        severity, reason = severity_of(since_onset(watch, incident.opened_us))
        if severity == incident.severity:
            return state, []
        now = replace(incident, severity=severity)
        event = told.updated(cause_of(last), state.model, now, reason, judged.window.close_us)
        return _with(state, incident, now), [event]

    async def _alarm(self, state: ModelState, rules: Rules, watch: Watch, judged: Judged, last: Link) -> Followed:
        found = drifted(state, rules, watch, judged)
        coverage = await self.measures.coverage(state, rules, watch.version, found.close_us)
        moved = await self.structure.moved(state, rules, found.onset_us, found.close_us)
        event = told.detected(cause_of(last), state.model, found, rules, coverage, moved, frozen=state.frozen)
        by = link(event)
        incident = Incident(
            event.data.incident, "loss", rules.trigger_loss, watch.version, found.severity, found.close_us, by
        )
        pursuit = policy.alarmed(state.pursuit, rules, incident.id, by, found.close_us)
        return replace(state, incidents=(*state.incidents, incident), pursuit=pursuit), [event]

    def _calmed(self, state: ModelState, incident: Incident, at_us: int, last: Link) -> Followed:
        over = Cleared(incident, "the loss of a week's windows is back in tolerance")
        events: list[AnyEvent] = [told.cleared(cause_of(last), state.model, over, at_us)]
        pursuit, held = policy.dropped(state.pursuit, at_us)
        if held:
            events.append(told.suppressed(state.model, incident.version, held))
        return replace(_with(state, incident, None), pursuit=pursuit), events


def _scored(state: ModelState, watch: Watch) -> Sequence[str]:
    """The versions whose predictions are measured: the champion's first."""
    others = [state.rollout.other if state.rollout else None, state.guard.champion if state.guard else None]
    return [watch.version, *(version for version in others if version and version != watch.version)]


def _or_served(last: Outcome | None, state: ModelState) -> Link:
    if last is not None:
        return Link(last.event_id, last.observed_us, last.event_id)
    if state.served is None:
        raise ValueError(f"a window of {state.model} was closed although no version serves")
    return state.served.by


def _added(sums: tuple[int, float], mine: Joined, finite: NDArray[np.bool_]) -> tuple[int, float]:
    return sums[0] + int(finite.sum()), sums[1] + float(mine.values[finite].sum())


def _with(state: ModelState, old: Incident, new: Incident | None) -> ModelState:
    kept = tuple(incident for incident in state.incidents if incident.id != old.id)
    return replace(state, incidents=(*kept, new) if new else kept)
