"""Hears candidates, judgements and commands; says what exists and what may serve, and remembers why."""

from driftloop_contracts.control_plane import CommandGiven, VersionRegistered
from driftloop_contracts.event import AnyEvent, Event, caused
from driftloop_contracts.loop import CandidateTrained, ChallengerJudged, RollbackAdvised
from registry.domain.gate import Refuse
from registry.handlers.commands import Commands
from registry.handlers.decisions import Decisions, Why
from registry.handlers.rollouts import Rollouts
from registry.handlers.wording import link
from registry.ports import Audit, Chain, Models, Registered


class Registry:
    """The registry's room: decides by the declaration's gate, and keeps every control event for the chain."""

    def __init__(self, models: Models, chain: Chain, audit: Audit) -> None:
        self.models = models
        self.chain = chain
        self._decisions = Decisions(models, audit)
        self._rollouts = Rollouts(models, self._decisions)
        self._commands = Commands(models, self._decisions, self._rollouts)

    async def on_candidate_trained(self, event: Event[CandidateTrained]) -> list[AnyEvent]:
        """The candidate has its number, and does what its back-test allows."""
        case = await self._rollouts.open(event.data.model)
        version = await self.models.register(event)
        registered = caused(_registered(event, version), event.as_cause(), version)
        if isinstance(case, Refuse):
            why = Why(event.as_cause(), "registry", "refused", case.reason, (event.id,))
            return [registered, *await self._decisions.refuse(event.data.model, version, case, why)]
        if case.deployment.names(version):
            return []
        return [registered, *await self._rollouts.lead_in(case, version, event.as_cause())]

    async def on_challenger_judged(self, event: Event[ChallengerJudged]) -> list[AnyEvent]:
        """The challenger is promoted, held until the next look, or sent away."""
        case = await self._rollouts.open(event.data.model)
        return [] if isinstance(case, Refuse) else await self._rollouts.look(case, event)

    async def on_rollback_advised(self, event: Event[RollbackAdvised]) -> list[AnyEvent]:
        """The version that was replaced answers again, where the registry may decide that alone."""
        case = await self._rollouts.open(event.data.model)
        return [] if isinstance(case, Refuse) else await self._rollouts.undo(case, event)

    async def on_command_given(self, event: Event[CommandGiven]) -> list[AnyEvent]:
        """A person has an answer: the usual event, or CommandRefused."""
        return await self._commands.carry_out(event)

    async def on_any(self, event: AnyEvent) -> list[AnyEvent]:
        """Every control event can be found, whole, months later."""
        await self.chain.keep([link(event)])
        return []


def _registered(event: Event[CandidateTrained], version: str) -> VersionRegistered:
    fact = event.data
    return VersionRegistered(
        model=fact.model,
        version=version,
        artifact_digest=fact.artifact_digest,
        run_id=fact.run_id,
        request_id=fact.request_id,
        source=source_of(Registered(version, event.id, fact)),
    )


def source_of(version: Registered) -> str:
    """Where the version's bytes lie, for MLflow's `source`: the artifact store's digest, never a path."""
    return f"driftloop-artifacts:/{version.candidate.artifact_digest}"
