"""The decisions that the watermark has made due, one after the other in event time.

Each step reads the rows that its decision rests on, lets the domain decide, and says what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from driftloop_contracts import AnyEvent
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS
from driftloop_detect.windows import Judged
from monitor.domain import judge, policy
from monitor.domain.deploy import Cleared
from monitor.domain.drifted import drifted, severity_of
from monitor.domain.link import Link
from monitor.domain.losses import DAY_US
from monitor.domain.policy import Ask, Held
from monitor.domain.rows import Joined, paired
from monitor.domain.rules import Rules
from monitor.domain.state import Comparison, Due, Incident, ModelState, next_due
from monitor.domain.watch import Seen, Watch, calm, since_onset, stepped
from monitor.handlers import told
from monitor.handlers.heard import cause_of, link
from monitor.handlers.measures import Measures
from monitor.handlers.structure import Structure
from monitor.handlers.told import Span
from monitor.ports import Documents, Outcome, Place, Positions, Rows

Followed = tuple[ModelState, list[AnyEvent]]
# Outcomes may come a month late; what met its prediction is kept a little longer, for the looks that follow.
UNMATCHED_US: Final = 30 * DAY_US
MATCHED_US: Final = 35 * DAY_US


@dataclass(frozen=True, slots=True)
class Decisions:
    """Takes every decision of a model whose time has come."""

    rows: Rows
    documents: Documents
    positions: Positions
    measures: Measures
    structure: Structure

    async def due(self, state: ModelState, reached: dict[Place, int]) -> Followed:
        """No decision is due any more. reached: how far this very transaction takes its partitions."""
        events: list[AnyEvent] = []
        while state.rules is not None:
            due = next_due(state)
            horizon = due.at_us if due else state.clocks.watermark - 1
            asked = await self._enough(state, state.rules, horizon, reached)
            state, more = asked or (await self._taken(state, state.rules, due, reached) if due else (state, []))
            events += more
            if not asked and not due:
                break
        return state, events

    async def _taken(self, state: ModelState, rules: Rules, due: Due, reached: dict[Place, int]) -> Followed:
        match due.kind:
            case "close":
                return await self._close(state, rules, due.at_us)
            case "look":
                return await self._look(state, rules, due.at_us)
            case "guard":
                return await self._guard(state, rules, due.at_us)
            case "age":
                return await self._age(state, rules, due.at_us, reached)
            case "wake":
                return await self._wake(state, rules, due.at_us, reached)

    async def _close(self, state: ModelState, rules: Rules, at_us: int) -> Followed:
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
        arrival = await self.rows.next_arrival(state.model, at_us)
        quiet_until = min(arrival or state.clocks.watermark, state.clocks.watermark)
        return replace(watch, tried_us=max(at_us, rules.calendar.last_closed(quiet_until)))

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
        gone = await self.rows.evict(state.model, at_us - UNMATCHED_US, at_us - MATCHED_US)
        await self.structure.tallies.evict(state.model, at_us - MATCHED_US)
        counts = {name: state.counts.get(name, 0) + gone.get(name, 0) for name in {*state.counts, *gone}}
        return replace(state, counts=counts), [*measurement.events, *verdicts]

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

    async def _enough(
        self, state: ModelState, rules: Rules, until_us: int, reached: dict[Place, int]
    ) -> Followed | None:
        """Enough outcomes of the new world have arrived until then; None while there are fewer, or nobody waits."""
        pursuit = state.pursuit
        if pursuit.stage != "collecting" or state.served is None:
            return None
        nth = await self.rows.nth_outcome(state.model, state.served.version, pursuit.since_us, until_us, pursuit.needed)
        if nth is None:
            return None
        what = f"{pursuit.needed} outcomes arrived after the alarm; the last was {nth.event_id}"
        pursuit, verdict = policy.enough(pursuit, rules, state.frozen, nth.arrived_us, what)
        return await self._asked(replace(state, pursuit=pursuit), rules, verdict, reached)

    async def _age(self, state: ModelState, rules: Rules, at_us: int, reached: dict[Place, int]) -> Followed:
        if state.served is None:
            return state, []
        pursuit, verdict = policy.aged(state.pursuit, rules, state.frozen, state.served.by, at_us)
        return await self._asked(replace(state, pursuit=pursuit), rules, verdict, reached)

    async def _wake(self, state: ModelState, rules: Rules, at_us: int, reached: dict[Place, int]) -> Followed:
        if state.pursuit.stage == "trained":
            return replace(state, pursuit=policy.again(state.pursuit, rules)), []
        pursuit, verdict = policy.enough(state.pursuit, rules, state.frozen, at_us)
        return await self._asked(replace(state, pursuit=pursuit), rules, verdict, reached)

    async def _asked(
        self, state: ModelState, rules: Rules, verdict: Ask | Held | None, reached: dict[Place, int]
    ) -> Followed:
        match verdict:
            case Ask():
                deployment = await self.documents.deployment(state.model)
                offsets = await self.offsets(reached)
                event = told.requested(state.model, deployment.data if deployment else None, rules, verdict, offsets)
                return replace(state, pursuit=replace(state.pursuit, request_id=event.id)), [event]
            case Held():
                version = state.served.version if state.served else None
                return state, [told.suppressed(state.model, version, verdict)]
            case None:
                return state, []

    async def offsets(self, reached: dict[Place, int]) -> dict[Place, int]:
        """Next offset of every partition of the data topics that was read, this transaction included."""
        return await self.positions.read([PREDICTIONS.name, OUTCOMES.name]) | reached

    async def _look(self, state: ModelState, rules: Rules, at_us: int) -> Followed:
        rollout = state.rollout
        if rollout is None:
            return state, []
        units = await self._units(state, rules, rollout, at_us)
        look = judge.look(units, rules, judge.seed_of(rollout.by.id), last=rollout.last)
        event = told.judged(state.model, rollout, at_us, look, rules)
        return replace(state, rollout=replace(rollout, looked=rollout.looked + 1)), [event]

    async def _guard(self, state: ModelState, rules: Rules, at_us: int) -> Followed:
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


def _added(
    sums: tuple[int, float], mine: Joined, finite: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[int, float]:
    return sums[0] + int(finite.sum()), sums[1] + float(mine.values[finite].sum())


def _with(state: ModelState, old: Incident, new: Incident | None) -> ModelState:
    kept = tuple(incident for incident in state.incidents if incident.id != old.id)
    return replace(state, incidents=(*kept, new) if new else kept)
