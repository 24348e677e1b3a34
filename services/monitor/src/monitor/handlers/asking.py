"""When a retrain is asked for, what it may rest on, and why it is not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from driftloop_contracts import AnyEvent, Event
from driftloop_contracts.control_plane import CommandGiven
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS
from monitor.domain import policy
from monitor.domain.policy import Ask, Held
from monitor.domain.rules import Rules
from monitor.domain.state import ModelState
from monitor.handlers import told
from monitor.handlers.heard import us_of
from monitor.ports import Documents, Place, Positions, Rows

Followed = tuple[ModelState, list[AnyEvent]]


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks for retrains, or says why not."""

    rows: Rows
    documents: Documents
    positions: Positions

    async def when_enough(
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

    async def of_age(self, state: ModelState, rules: Rules, at_us: int, reached: dict[Place, int]) -> Followed:
        if state.served is None:
            return state, []
        pursuit, verdict = policy.aged(state.pursuit, rules, state.frozen, state.served.by, at_us)
        return await self._asked(replace(state, pursuit=pursuit), rules, verdict, reached)

    async def woken(self, state: ModelState, rules: Rules, at_us: int, reached: dict[Place, int]) -> Followed:
        if state.pursuit.stage == "trained":
            return replace(state, pursuit=policy.again(state.pursuit, rules)), []
        pursuit, verdict = policy.enough(state.pursuit, rules, state.frozen, at_us)
        return await self._asked(replace(state, pursuit=pursuit), rules, verdict, reached)

    async def commanded(self, state: ModelState, command: Event[CommandGiven]) -> Followed:
        """A person asks: with or without a champion, whatever the cool-down, but not against a freeze."""
        if state.retired or state.rules is None:
            return state, [told.refused(command, f"model {state.model} is retired")]
        if state.frozen:
            return state, [told.refused(command, f"model {state.model} is frozen: unfreeze it first")]
        deployment, offsets = await self.documents.deployment(state.model), await self._offsets({})
        event = told.commanded(command, deployment.data if deployment else None, state.rules, offsets)
        pursuit = replace(policy.asked(state.pursuit, us_of(command.time)), stage="requested", request_id=event.id)
        return replace(state, pursuit=pursuit), [event]

    async def _asked(
        self, state: ModelState, rules: Rules, verdict: Ask | Held | None, reached: dict[Place, int]
    ) -> Followed:
        match verdict:
            case Ask():
                deployment = await self.documents.deployment(state.model)
                offsets = await self._offsets(reached)
                event = told.requested(state.model, deployment.data if deployment else None, rules, verdict, offsets)
                return replace(state, pursuit=replace(state.pursuit, request_id=event.id)), [event]
            case Held():
                version = state.served.version if state.served else None
                return state, [told.suppressed(state.model, version, verdict)]
            case None:
                return state, []

    async def _offsets(self, reached: dict[Place, int]) -> dict[Place, int]:
        """Next offset of every partition of the data topics that was read, this transaction included."""
        return await self.positions.read([PREDICTIONS.name, OUTCOMES.name]) | reached
