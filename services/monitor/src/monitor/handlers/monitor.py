"""Hears predictions, outcomes and what the control plane says; returns what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop_bus.batches import OutcomeBatch, PredictionBatch
from driftloop_bus.errors import TryAgain
from driftloop_contracts import AnyEvent, Event
from driftloop_contracts.control_plane import CommandGiven, DeploymentChanged, ModelDeclared, ModelRetired
from driftloop_contracts.loop import CandidateTrained, TrainingFailed
from driftloop_contracts.topics import DECLARATIONS, DEPLOYMENTS, OUTCOMES, PREDICTIONS
from driftloop_kit.jobs import Done, Failed, Job, JobEnd
from monitor.domain import deploy, policy
from monitor.domain.ahead import believed
from monitor.domain.clock import Kind, advanced, bounded
from monitor.domain.losses import DAY_US
from monitor.domain.rules import Rules
from monitor.domain.state import ModelState
from monitor.handlers import heard, told
from monitor.handlers.asking import Asking
from monitor.handlers.comparing import Comparing
from monitor.handlers.decisions import Decisions, Followed
from monitor.handlers.measures import Measures
from monitor.handlers.structure import Structure
from monitor.handlers.windows import Windows
from monitor.notes import Notes
from monitor.ports import (
    Blocks,
    Documents,
    Place,
    Positions,
    Ready,
    References,
    Rows,
    Silence,
    States,
    Tallies,
)

# A declaration may lag behind the command that follows it by a relay's turn, not by more.
COMMAND_WAITS: Final = timedelta(seconds=15)
# A row that comes so long after its stream has gone on counts to the window that is open then; people are told how many do.
LATE_US: Final = DAY_US


@dataclass(frozen=True, slots=True)
class Monitor:
    """The handlers of one transaction."""

    states: States
    rows: Rows
    documents: Documents
    positions: Positions
    blocks: Blocks
    tallies: Tallies
    references: References
    ready: Ready
    silence: Silence
    notes: Notes

    async def on_predictions(self, batch: PredictionBatch) -> list[AnyEvent]:
        """Every prediction of a declared model is remembered; what its time made due has been decided."""
        reached = _reached(batch)
        served = heard.without_history(batch)
        events: list[AnyEvent] = []
        for known, rules, given in await self._of_declared(served.by_model()):
            state, part = _believed(known, "predictions", given)
            clocks, arrived = advanced(state.clocks, "predictions", part.streams, part.times, part.partition)
            await self.rows.add_predictions(state.model, heard.prediction_rows(part, arrived, rules.kept))
            state = _counted(replace(state, clocks=clocks), "predictions_late", arrived - part.times > LATE_US)
            state, found = await self._structure.heard(state, rules, part, arrived)
            events += [*found, *await self._decided(state, reached)]
        return events

    async def on_outcomes(self, batch: OutcomeBatch) -> list[AnyEvent]:
        """Every outcome of a declared model is remembered; what its time made due has been decided."""
        reached = _reached(batch)
        fresh = heard.without_history(batch)
        events: list[AnyEvent] = []
        for known, _, given in await self._of_declared(fresh.by_model()):
            state, part = _believed(known, "outcomes", given)
            clocks, arrived = advanced(state.clocks, "outcomes", part.streams, part.times, part.partition)
            await self.rows.add_outcomes(state.model, heard.outcome_rows(part, arrived))
            state = _counted(replace(state, clocks=clocks), "outcomes_late", arrived - part.times > LATE_US)
            events += await self._decided(state, reached)
        return events

    async def on_deployment_changed(self, event: Event[DeploymentChanged]) -> list[AnyEvent]:
        """The version that answers now is held to its own back-test; incidents of the one before are over."""
        model = event.data.model
        state = await self.states.lock_or_make(model)
        known = await self.documents.deployment(model)
        if known and known.data.revision >= event.data.revision:
            return []
        await self.documents.put_deployment(event)
        if event.data.champion and event.data.champion.reference_digest:
            await self.references.want(event.data.champion.reference_digest, event.as_cause())
        return await self._concluded(*self._deployed(state, event))

    async def on_model_declared(self, event: Event[ModelDeclared]) -> list[AnyEvent]:
        """The declaration holds; what waited for it goes on."""
        model = event.data.model
        state = deploy.heard(await self.states.lock_or_make(model), event.id)
        if state is None:
            return []
        rules, deployment = heard.declared_rules(event), await self.documents.deployment(model)
        champion = heard.deployment_of(deployment, rules).champion if deployment else None
        state = deploy.declared(state, rules, heard.link(event), champion)
        state, events = self._deployed(state, deployment) if deployment else (state, [])
        for command in await self.documents.waiting_commands(model):
            await self.documents.drop_command(command.id)
            self.notes.answered(command.id)
            state, more = await self._asking.commanded(state, command)
            events += more
        return await self._concluded(state, events)

    async def on_model_retired(self, event: Event[ModelRetired]) -> list[AnyEvent]:
        """The model is watched no more."""
        known = (await self.states.lock([event.data.model])).get(event.data.model)
        state = deploy.heard(known, event.id) if known else None
        if state is None:
            return []
        state, over = deploy.retired(state, event.data.reason)
        return await self._concluded(state, [_cleared(event, state, one) for one in over])

    async def on_command(self, event: Event[CommandGiven]) -> list[AnyEvent]:
        """A retrain that a person asks for is requested or refused; other commands are the registry's."""
        if event.data.command != "retrain":
            return []
        state = (await self.states.lock([event.data.model])).get(event.data.model)
        if state is None or (state.rules is None and not state.retired):
            await self.documents.put_command(event)
            return []
        return await self._concluded(*await self._asking.commanded(state, event))

    async def on_tick(self, now: datetime) -> list[AnyEvent]:
        """A topic that was read to its end holds the other no longer; commands whose model nobody declared are refused.

        The wall clock decides neither: it only says when to look, and how long a command has waited.
        """
        return [*await self._without_the_silent(), *await self._refusals(now)]

    async def _without_the_silent(self) -> list[AnyEvent]:
        suspects, events = self.silence.suspects(), list[AnyEvent]()
        states = await self.states.lock(suspects) if suspects else {}
        positions = await self.positions.read([PREDICTIONS.name, OUTCOMES.name]) if suspects else {}
        for state in states.values():
            if not state.clocks.far_apart:
                self.silence.acquit(state.model)
            elif newest_us := self.silence.proven(state.model, positions):
                events += await self._decided(replace(state, clocks=state.clocks.without_the_silent(newest_us)), {})
        return events

    async def _refusals(self, now: datetime) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for command in await self.documents.waiting_commands():
            # By one clock alone: the writer's, or the broker's, may be days from ours.
            if now - self.notes.waits_since(command.id, now) >= COMMAND_WAITS:
                await self.documents.drop_command(command.id)
                self.notes.answered(command.id)
                events.append(
                    told.refused(command, f"model {command.data.model} is not declared: apply its document first")
                )
        return events

    async def on_candidate_trained(self, event: Event[CandidateTrained]) -> list[AnyEvent]:
        """The request led to a candidate: its rollout, or the lack of one, is what comes next."""
        state = (await self.states.lock([event.data.model])).get(event.data.model)
        if state is None or state.rules is None:
            return []
        at_us = max(heard.us_of(event.time), state.clocks.watermark)
        pursuit = policy.trained(state.pursuit, state.rules, event.data.request_id, at_us)
        return await self._concluded(replace(state, pursuit=pursuit), [])

    async def on_training_failed(self, event: Event[TrainingFailed]) -> list[AnyEvent]:
        """The request led to nothing: more of the new world is waited for."""
        state = (await self.states.lock([event.data.model])).get(event.data.model)
        if state is None or state.rules is None:
            return []
        pursuit = policy.failed(state.pursuit, state.rules, event.data.request_id)
        return await self._concluded(replace(state, pursuit=pursuit), [])

    async def on_reference_read(self, job: Job, end: JobEnd) -> list[AnyEvent]:
        """What the version's features were like in training is known from now on; without it nothing is compared."""
        match end:
            case Done(result):
                await self.references.put(result["digest"], result["document"])
            case Failed(reason):
                self.notes.failed(job.payload["digest"], reason)
        return []

    @property
    def _structure(self) -> Structure:
        return Structure(self.blocks, self.tallies, self.references)

    @property
    def _asking(self) -> Asking:
        return Asking(self.rows, self.documents, self.positions)

    @property
    def _decisions(self) -> Decisions:
        windows = Windows(self.rows, Measures(self.rows), self._structure)
        return Decisions(windows, Comparing(self.rows), self._asking)

    async def _of_declared(self, parts: Mapping[str, heard.B]) -> Sequence[tuple[ModelState, Rules, heard.B]]:
        """The locked state of each declared model, with its rows; the others' rows are counted and kept out."""
        if parts:
            await self._wait_for_declarations()
        states = await self.states.lock(sorted(parts))
        known = [(state, state.rules) for state in states.values() if state.rules and not state.retired]
        for model in parts.keys() - {state.model for state, _ in known}:
            self.notes.kept_out(model, len(parts[model]))
        return [(state, rules, parts[state.model]) for state, rules in known]

    async def _wait_for_declarations(self) -> None:
        if not self.ready.declared(await self.positions.read([DECLARATIONS.name, DEPLOYMENTS.name])):
            raise TryAgain("declarations and deployments from before the start are not read yet")

    def _deployed(self, state: ModelState, event: Event[DeploymentChanged]) -> Followed:
        if state.rules is None or event.data.revision <= state.revision:
            return state, []
        state, over = deploy.deployed(state, state.rules, heard.deployment_of(event, state.rules))
        return state, [_cleared(event, state, one) for one in over]

    async def _concluded(self, state: ModelState, events: list[AnyEvent]) -> list[AnyEvent]:
        return [*events, *await self._decided(state, {})]

    async def _decided(self, state: ModelState, reached: dict[Place, int]) -> list[AnyEvent]:
        """Whatever is due is decided, and the state is kept."""
        state, events = await self._decisions.due(state, reached)
        await self.states.put(state)
        self.notes.saw(state)
        if state.clocks.far_apart:
            numbers = sorted(set(state.clocks.partitions.values()))
            self.silence.suspect(
                state.model,
                [(topic, n) for topic in (PREDICTIONS.name, OUTCOMES.name) for n in numbers],
                state.clocks.newest,
            )
        return events


def _believed(state: ModelState, kind: Kind, batch: heard.B) -> tuple[ModelState, heard.B]:
    """The rows whose times may be true; the others are counted and left out. Rows of too many streams go on as one."""
    streams = bounded(state.clocks, batch.streams, f"{state.model}/*{batch.partition}")
    if streams is not batch.streams:
        together = np.array(streams, object) != np.array(batch.streams, object)
        state, batch = _counted(state, f"{kind}_of_too_many_streams", together), replace(batch, streams=streams)
    begun_us = max((change.time_us for change in state.changes), default=0)
    clocks, kept = believed(state.clocks, kind, batch.streams, batch.times, begun_us)
    if not state.evicted_us and kept.any():
        state = replace(state, evicted_us=int(batch.times[kept][0]))
    state = _counted(replace(state, clocks=clocks), f"{kind}_far_ahead", ~kept)
    return state, batch if kept.all() else batch.take(kept)


def _counted(state: ModelState, name: str, rows: NDArray[np.bool_]) -> ModelState:
    """These rows are counted aside; none leaves the state as it is."""
    if not rows.any():
        return state
    return replace(state, counts={**state.counts, name: state.counts.get(name, 0) + int(rows.sum())})


def _reached(batch: PredictionBatch | OutcomeBatch) -> dict[Place, int]:
    return {(batch.topic, batch.partition): int(batch.offsets.max()) + 1} if len(batch) else {}


def _cleared(event: AnyEvent, state: ModelState, over: deploy.Cleared) -> AnyEvent:
    return told.cleared(event.as_cause(), state.model, over, heard.us_of(event.time))
