"""What people ask for, and what follows: the usual event, or CommandRefused with the reason."""

from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import ValidationError

from driftloop_contracts.control_plane import (
    ApprovalGiven,
    CommandGiven,
    CommandRefused,
    ModelDeclared,
    ModelRetired,
    ViewDeclared,
)
from driftloop_contracts.documents import ModelDeclaration, ViewDeclaration, parse_document
from driftloop_contracts.event import AnyEvent, Event, caused
from registry.domain.commands import freeze, may_be_approved, retire, roll_back, unfreeze
from registry.domain.deployment import Deployment
from registry.domain.gate import Refuse
from registry.handlers.decisions import Decisions, Why
from registry.handlers.refusals import in_words
from registry.handlers.rollouts import Rollouts
from registry.handlers.wording import canonical
from registry.ports import Declared, Models

Command = Event[CommandGiven]
# Commands that another service answers.
ELSEWHERE: Final = ("retrain",)


class Commands:
    """Carries out what a person asked for, or says why not."""

    def __init__(self, models: Models, decisions: Decisions, rollouts: Rollouts) -> None:
        self._models = models
        self._decisions = decisions
        self._rollouts = rollouts
        self._known: dict[str, Callable[[Command], Awaitable[list[AnyEvent]]]] = {
            "apply": self._apply,
            "approve": self._approve,
            "freeze": self._change,
            "retire": self._retire,
            "rollback": self._change,
            "unfreeze": self._change,
        }

    async def carry_out(self, event: Command) -> list[AnyEvent]:
        """The command's answer; none where another service answers."""
        command = event.data.command
        if command in ELSEWHERE:
            return []
        known = self._known.get(command)
        if known is None:
            return _refused(event, f"no command {command!r} exists; known are {sorted((*self._known, *ELSEWHERE))}")
        return await known(event)

    async def _apply(self, event: Command) -> list[AnyEvent]:
        document = event.data.document
        if document is None:
            return _refused(event, "apply needs the whole document, none was given")
        try:
            parsed = parse_document(document)
        except ValidationError as error:
            return _refused(event, in_words(error, document))
        except ValueError as error:
            return _refused(event, str(error))
        name = parsed.model if isinstance(parsed, ModelDeclaration) else f"view/{parsed.view}"
        if name != event.data.model:
            return _refused(event, f"the command is about {event.data.model!r}, its document about {name!r}")
        return await self._declare(event, name, parsed)

    async def _declare(self, event: Command, name: str, parsed: ModelDeclaration | ViewDeclaration) -> list[AnyEvent]:
        text, digest = canonical(parsed)
        before = await self._models.declared(name)
        await self._models.declare(Declared(name, digest, text, event.data.given_by))
        same = before is not None and before.digest == digest and not before.retired
        why = Why(event.as_cause(), event.data.given_by, "apply", "applied again, unchanged" if same else "applied")
        return [
            caused(_declaration(parsed, digest, event.data.given_by), event.as_cause()),
            await self._decisions.seal(name, "apply", why, digest=digest),
        ]

    async def _change(self, event: Command) -> list[AnyEvent]:
        """freeze, unfreeze, rollback: the deployment's next state, if it has one."""
        case = await self._rollouts.open(event.data.model)
        if isinstance(case, Refuse):
            return _refused(event, case.reason)
        after = _next(event, case.deployment)
        if isinstance(after, Refuse):
            return _refused(event, after.reason)
        ended = []
        if case.deployment.rollout and after.rollout is None:
            ended = await self._rollouts.end_comparison(
                case, event.as_cause(), "the champion it was compared with was rolled back"
            )
        return [
            *ended,
            *await self._decisions.deploy(case.model, case.standing, after, _why(event, _PAST[event.data.command])),
        ]

    async def _approve(self, event: Command) -> list[AnyEvent]:
        case, version = await self._rollouts.open(event.data.model), event.data.version
        if isinstance(case, Refuse):
            return _refused(event, case.reason)
        known = version is not None and bool(await self._models.registered(case.model, {version}))
        refusal = may_be_approved(case.deployment, version, known)
        if refusal or version is None:
            return _refused(event, refusal.reason if refusal else "")
        approval = caused(
            ApprovalGiven(model=case.model, version=version, approved_by=event.data.given_by, reason=event.data.reason),
            event.as_cause(), version,
        )  # fmt: skip
        return [
            approval,
            await self._decisions.seal(case.model, "approve", _why(event, "approve"), version=version),
            *await self._rollouts.lead_in(case, version, approval.as_cause(), approval=approval.id),
        ]

    async def _retire(self, event: Command) -> list[AnyEvent]:
        model = event.data.model
        standing, declared = await self._models.standing(model), await self._models.declared(model)
        after = retire(
            standing.deployment, declared is not None and not declared.retired and not model.startswith("view/")
        )
        if isinstance(after, Refuse) or declared is None:
            return _refused(event, f"{model!r}: {after.reason if isinstance(after, Refuse) else 'no such model'}")
        await self._models.declare(
            Declared(declared.name, declared.digest, declared.text, event.data.given_by, retired=True)
        )
        fact = ModelRetired(model=model, reason=event.data.reason or "no reason given", retired_by=event.data.given_by)
        return [
            *await self._decisions.deploy(model, standing, after, _why(event, "retired")),
            caused(fact, event.as_cause()),
        ]


_PAST: Final = {"freeze": "frozen", "unfreeze": "unfrozen", "rollback": "rolled back"}


def _next(event: Command, deployment: Deployment) -> Deployment | Refuse:
    match event.data.command:
        case "freeze":
            return freeze(deployment)
        case "unfreeze":
            return unfreeze(deployment)
        case _:
            return roll_back(deployment, event.data.version, event.time)


def _why(event: Command, reason: str) -> Why:
    return Why(event.as_cause(), event.data.given_by, reason, event.data.reason or event.data.command, (event.id,))


def _declaration(parsed: ModelDeclaration | ViewDeclaration, digest: str, by: str) -> ModelDeclared | ViewDeclared:
    if isinstance(parsed, ModelDeclaration):
        return ModelDeclared(model=parsed.model, document=parsed, digest=digest, applied_by=by)
    return ViewDeclared(view=parsed.view, document=parsed, digest=digest, applied_by=by)


def _refused(event: Command, reason: str) -> list[AnyEvent]:
    fact = CommandRefused(model=event.data.model, command=event.data.command, reason=reason)
    return [caused(fact, event.as_cause())]
