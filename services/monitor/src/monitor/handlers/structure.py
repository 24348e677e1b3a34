"""What the champion's predictions say without any outcome: block by block, in log order.

Structural faults are found within a hundred rows and never lead to a retrain: it would learn the fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from driftloop_bus.batches import PredictionBatch
from driftloop_contracts import AnyEvent, Cause
from driftloop_contracts.loop import Histogram
from driftloop_detect.structural import Finding
from monitor.domain.blocks import Block, Full, filled
from monitor.domain.deploy import Cleared
from monitor.domain.faults import Reach, reach
from monitor.domain.histograms import Bins
from monitor.domain.losses import IntArray
from monitor.domain.rules import Rules
from monitor.domain.state import Incident, ModelState
from monitor.handlers import told
from monitor.handlers.heard import link, only
from monitor.handlers.told import Span
from monitor.ports import Blocks, Known, References, Tallies

Followed = tuple[ModelState, list[AnyEvent]]


@dataclass(frozen=True, slots=True)
class Structure:
    """Counts and checks the features of what the champion answered."""

    blocks: Blocks
    tallies: Tallies
    references: References

    async def heard(self, state: ModelState, rules: Rules, batch: PredictionBatch, arrived_us: IntArray) -> Followed:
        """The champion's rows are counted and checked; opened and cleared faults follow, and full blocks' measurements."""
        if state.served is None:
            return state, []
        version = state.served.version
        both = zip(batch.versions, batch.variants, strict=True)
        rows = [row for row, (by, variant) in enumerate(both) if by == version and variant == "champion"]
        answered = only(batch, rows)
        known = await self.references.known(state.served.reference, rules) if state.served.reference else None
        if known:
            await self._tally(state, rules, version, answered, arrived_us[rows], known.bins)
        events: list[AnyEvent] = []
        for stream, part in answered.by_stream().items():
            state, more = await self._stream(state, rules, stream, part, known)
            events += more
        return state, events

    async def moved(self, state: ModelState, rules: Rules, after_us: int, until_us: int) -> list[Histogram]:
        """The features that moved most since then, against the version's training rows; none where these are not known."""
        served = state.served
        known = await self.references.known(served.reference, rules) if served and served.reference else None
        if known is None or served is None:
            return []
        counts = await self.tallies.summed(state.model, served.version, after_us, until_us)
        return [told.histogram(moved) for moved in known.bins.moved(counts)]

    async def _tally(
        self, state: ModelState, rules: Rules, version: str, batch: PredictionBatch, arrived_us: IntArray, bins: Bins
    ) -> None:
        closes = rules.calendar.close_of(arrived_us)
        for close in np.unique(closes).tolist():
            rows = closes == close
            columns = {name: column[rows] for name, column in batch.features.items()}
            await self.tallies.add(state.model, version, close, bins.counted(columns, int(rows.sum())))

    async def _stream(
        self, state: ModelState, rules: Rules, stream: str, part: PredictionBatch, known: Known | None
    ) -> Followed:
        version = str(part.versions[0])
        kept = await self.blocks.get(state.model, stream, version)
        block, full = filled(
            kept.block if kept else Block(), part.features, list(rules.features), part.times, part.latency_ms
        )
        checks, found = kept.checks if kept else None, list[tuple[Finding, Reach]]()
        if known:
            checks, found = _checked(known, checks, part, rules)
        await self.blocks.put(state.model, stream, version, block, checks)
        events = [event for one in full for event in _measured(state.model, version, one, part)]
        for finding, reached in found:
            state, more = _found(state, version, finding, reached, part, rules)
            events += more
        return state, events


def _checked(
    known: Known, checks: bytes | None, part: PredictionBatch, rules: Rules
) -> tuple[bytes, list[tuple[Finding, Reach]]]:
    watch = known.watch
    state = watch.from_bytes(checks) if checks else watch.start()
    before = int(state.tally.rows[0])
    segment = part.features.get(rules.segment) if rules.segment else None
    state, found = watch.step(state, part.features, part.times, segment, part.feature_times)
    return watch.to_bytes(state), [(finding, reach(finding, before + finding.row + 1)) for finding in found]


def _found(
    state: ModelState, version: str, finding: Finding, reached: Reach, part: PredictionBatch, rules: Rules
) -> Followed:
    """A check began to fail: an incident, unless it is open already. It stopped: the incident is over."""
    name = told.check_name(finding)
    incident, cause = state.open(finding.check.kind, name), part.cause(finding.row)
    at_us = int(part.times[finding.row])
    if finding.state == "opened" and incident is None:
        event = told.broken(cause, state.model, version, finding, reached, rules.segment, at_us)
        opened = Incident(event.data.incident, finding.check.kind, name, version, reached.severity, at_us, link(event))
        return replace(state, incidents=(*state.incidents, opened)), [event]
    if finding.state == "cleared" and incident is not None:
        kept = tuple(other for other in state.incidents if other.id != incident.id)
        over = Cleared(incident, f"a whole block without it; {finding.reason}")
        return replace(state, incidents=kept), [told.cleared(cause, state.model, over, at_us)]
    return state, []


def _measured(model: str, version: str, full: Full, part: PredictionBatch) -> Sequence[AnyEvent]:
    """A full block's latency, and the null rate of the features that were null at all."""
    block, cause = full.block, part.cause(full.row)
    span = Span(block.since_us, block.until_us)
    events: list[AnyEvent] = [
        told.measured(cause, model, version, f"null:{name}", span, block.rows, nulls / block.rows)
        for name, nulls in block.nulls.items()
        if nulls
    ]
    return [*events, *_latency(cause, model, version, block, span)]


def _latency(cause: Cause, model: str, version: str, block: Block, span: Span) -> list[AnyEvent]:
    if not block.timed:
        return []
    mean = block.latency / block.timed
    return [
        told.measured(
            cause, model, version, "latency_ms", span, block.timed, mean, minimum=block.fastest, maximum=block.slowest
        )
    ]
