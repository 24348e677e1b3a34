"""How a version is led in: from its back-test to a challenger, from a look to a promotion."""

from dataclasses import dataclass

from driftloop_contracts.event import AnyEvent, Cause, Event
from driftloop_contracts.loop import ChallengerJudged, RollbackAdvised
from registry.domain.deployment import Deployment, Rollout
from registry.domain.gate import Bar, Compare, First, Hold, Ignore, Promote, Refuse, judge, next_step
from registry.domain.guard import undo_promotion
from registry.domain.policy import Policy
from registry.handlers.decisions import Decisions, Why
from registry.handlers.wording import bar, candidate, judgement, policy
from registry.ports import Models, Registered, Standing


@dataclass(frozen=True, slots=True)
class Case:
    """A governed model: its policy, and how it stands."""

    model: str
    policy: Policy
    policy_digest: str
    standing: Standing

    @property
    def deployment(self) -> Deployment:
        """What answers now."""
        return self.standing.deployment

    def why(self, cause: Cause, reason: str, words: str, evidence: tuple[str, ...]) -> Why:
        """The registry decides by the policy alone."""
        return Why(cause, f"registry by policy {self.policy_digest}", reason, words, evidence)


class Rollouts:
    """Asks the gate, and has its answer carried out."""

    def __init__(self, models: Models, decisions: Decisions) -> None:
        self._models = models
        self._decisions = decisions

    async def open(self, model: str) -> Case | Refuse:
        """The model's case, for this transaction alone; refused when nobody declared it."""
        standing = await self._models.standing(model)
        declared = await self._models.declared(model)
        if declared is None or declared.retired:
            return Refuse(f"no model {model!r} is declared: apply its declaration, then train again", ("declaration",))
        return Case(model, policy(declared.of_model()), declared.digest, standing)

    async def lead_in(self, case: Case, version: str, cause: Cause, *, approval: str | None = None) -> list[AnyEvent]:
        """The version does what its back-test allows. approval: the event by which a person approved it."""
        known = await self._models.registered(case.model, {version} | _ceiling(case))
        verdict = _judged(case, known, version, approved=approval is not None)
        evidence = (known[version].candidate_id, *([approval] if approval else []))
        match verdict:
            case Refuse():
                why = case.why(cause, "refused", verdict.reason, evidence)
                return await self._decisions.refuse(case.model, version, verdict, why)
            case First():
                why = case.why(cause, "first", "nothing is deployed: floors and looks are waived", evidence)
                after = case.deployment.deployed_at_once(version, cause.time)
            case Promote():
                why = case.why(cause, "promoted", verdict.reason, evidence)
                after = case.deployment.promoted(version, cause.time)
            case Compare():
                why = case.why(cause, "challenger", "its back-test beats the champion's on the same rows", evidence)
                looks = tuple(cause.time + look for look in case.policy.look_after)
                after = case.deployment.compared_with(Rollout(version, cause.time, looks, evidence))
        return [
            *await self._replaced(case, version, cause),
            *await self._decisions.deploy(case.model, case.standing, after, why),
        ]

    async def look(self, case: Case, event: Event[ChallengerJudged]) -> list[AnyEvent]:
        """One look at live outcomes has its consequence; one at a comparison that is over has none."""
        verdict, version, rollout = (
            next_step(case.deployment, judgement(event.data), case.policy),
            event.data.version,
            case.deployment.rollout,
        )
        if isinstance(verdict, Ignore) or rollout is None:
            return []
        evidence = (*rollout.evidence, event.id)
        cause = event.as_cause()
        match verdict:
            case Hold():
                why = case.why(cause, "held", verdict.reason, evidence)
                return await self._hold(case, why, event.id)
            case Promote():
                why = case.why(cause, "promoted", verdict.reason, evidence)
                return await self._decisions.deploy(
                    case.model, case.standing, case.deployment.promoted(version, event.time), why
                )
            case Refuse():
                why = case.why(cause, "refused", verdict.reason, evidence)
                return [
                    *await self._decisions.refuse(case.model, version, verdict, why),
                    *await self._decisions.deploy(case.model, case.standing, case.deployment.without_challenger(), why),
                ]

    async def undo(self, case: Case, event: Event[RollbackAdvised]) -> list[AnyEvent]:
        """A promotion that the guard calls a mistake is taken back; a comparison with its version is over."""
        fact = event.data
        after = undo_promotion(case.deployment, fact.version, fact.previous, event.time, case.policy)
        if isinstance(after, Ignore):
            return []
        cause = event.as_cause()
        why = case.why(cause, "rolled back", fact.reason, (*fact.evidence, event.id))
        return [
            *await self.end_comparison(case, cause, "the champion it was compared with was rolled back"),
            *await self._decisions.deploy(case.model, case.standing, after, why),
        ]

    async def _hold(self, case: Case, why: Why, judgement_id: str) -> list[AnyEvent]:
        held = case.deployment.holding(judgement_id)
        await self._models.stand(case.model, Standing(held, case.standing.champion_event))
        version = held.rollout.version if held.rollout else None
        return [await self._decisions.seal(case.model, why.reason, why, version=version)]

    async def _replaced(self, case: Case, version: str, cause: Cause) -> list[AnyEvent]:
        """One rollout a model at a time: the newer one replaces the older."""
        older = case.deployment.rollout
        if older is None:
            return []
        return await self.end_comparison(case, cause, f"version {version} is newer and replaces it as challenger")

    async def end_comparison(self, case: Case, cause: Cause, reason: str) -> list[AnyEvent]:
        """The challenger is told that its comparison is over."""
        rollout = case.deployment.rollout
        if rollout is None:
            return []
        why = case.why(cause, "refused", reason, rollout.evidence)
        return await self._decisions.refuse(case.model, rollout.version, Refuse(reason), why)


def _judged(
    case: Case, known: dict[str, Registered], version: str, *, approved: bool
) -> Refuse | First | Compare | Promote:
    return judge(
        candidate(version, known[version].candidate), case.deployment, _bar(case, known), case.policy, approved=approved
    )


def _ceiling(case: Case) -> set[str]:
    return {case.deployment.ceiling} if case.deployment.ceiling else set()


def _bar(case: Case, known: dict[str, Registered]) -> Bar | None:
    if case.deployment.ceiling is None:
        return None
    return bar(known[case.deployment.ceiling].candidate.backtest.loss_to_hold)
