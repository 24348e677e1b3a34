"""When a model is to be learnt again: never at the alarm, but once enough of the new world has been seen.

watching -> collecting (alarm) -> requested -> trained -> rollout -> watching (promoted)
Collecting may end in waiting (frozen, cool-down, too many a day); a refusal leads back to collecting, with twice the wait.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from monitor.domain.link import Link
from monitor.domain.losses import DAY_US
from monitor.domain.rules import Rules

Stage = Literal["watching", "collecting", "waiting", "requested", "trained", "rollout"]
# After the third refusal the wait grows no more: the world may have become learnable meanwhile.
LONGEST_WAIT: Final = 8
# A request that a freeze holds back waits for the thaw, not for a time.
NEVER: Final = 2**62


@dataclass(frozen=True, slots=True)
class Pursuit:
    """How far a model is on its way to a new version. Stepped, never changed."""

    stage: Stage = "watching"
    incident: str | None = None
    cause: Link | None = None
    """The alarm, or the promotion whose version has become too old."""
    since_us: int = 0
    """Outcomes that arrived after it count."""
    needed: int = 0
    attempt: int = 1
    enough: str = ""
    """What completed the count, for people."""
    not_before_us: int = NEVER
    """While waiting: when to ask again. While trained: when the silence is taken for a refusal."""
    request_id: str | None = None
    asked_us: tuple[int, ...] = ()
    """The requests of the last day, and the last one before."""
    ages: int = 0
    """How often the serving version's age has asked."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A retrain is to be requested, with what arrived up to `at_us`."""

    at_us: int
    cause: Link
    attempt: int
    incident: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """A retrain would have been requested."""

    at_us: int
    cause: Link
    attempt: int
    incident: str | None
    reason: str
    name: str
    """frozen, cooldown, max_per_day, cleared: one event of each for one attempt."""


def alarmed(pursuit: Pursuit, rules: Rules, incident: str, cause: Link, close_us: int) -> Pursuit:
    """From the alarm on, outcomes of the new world are counted; unless a new version is on its way already."""
    if pursuit.stage != "watching":
        return replace(pursuit, incident=pursuit.incident or incident, cause=pursuit.cause or cause)
    return replace(
        pursuit, stage="collecting", incident=incident, cause=cause, since_us=close_us, needed=rules.fresh_outcomes,
        attempt=1, request_id=None,
    )  # fmt: skip


def enough(pursuit: Pursuit, rules: Rules, frozen: bool, at_us: int, what: str = "") -> tuple[Pursuit, Ask | Held]:
    """Enough of the new world was seen at this time: ask, or say why not."""
    cause = pursuit.cause
    if cause is None:
        raise ValueError(f"nothing caused a retrain in stage {pursuit.stage}")
    pursuit = replace(pursuit, enough=what or pursuit.enough)
    if frozen:
        held = Held(at_us, cause, pursuit.attempt, pursuit.incident, _FROZEN, "frozen")
        return replace(pursuit, stage="waiting", not_before_us=NEVER), held
    barred_us, name, reason = _barred(pursuit, rules, at_us)
    if barred_us > at_us:
        held = Held(at_us, cause, pursuit.attempt, pursuit.incident, reason, name)
        return replace(pursuit, stage="waiting", not_before_us=barred_us), held
    ask = Ask(at_us, cause, pursuit.attempt, pursuit.incident, pursuit.enough)
    return asked(replace(pursuit, stage="requested"), at_us), ask


def asked(pursuit: Pursuit, at_us: int) -> Pursuit:
    """A request went out, by this policy or by a person: both count for cool-down and limit."""
    recent = [t for t in pursuit.asked_us if t > at_us - DAY_US]
    return replace(pursuit, asked_us=(*recent, at_us), not_before_us=NEVER)


def aged(
    pursuit: Pursuit, rules: Rules, frozen: bool, promotion: Link, at_us: int
) -> tuple[Pursuit, Ask | Held | None]:
    """The serving version has reached the age that the declaration allows; None where a new one is on its way."""
    pursuit = replace(pursuit, ages=pursuit.ages + 1)
    if pursuit.stage != "watching":
        return pursuit, None
    pursuit = replace(pursuit, cause=promotion, attempt=pursuit.ages, incident=None, request_id=None)
    return enough(pursuit, rules, frozen, at_us, "the serving version has reached the age of also_every")


def thawed(pursuit: Pursuit, at_us: int) -> Pursuit:
    """What only a freeze held back is due."""
    waits = pursuit.stage == "waiting" and pursuit.not_before_us == NEVER
    return replace(pursuit, not_before_us=at_us) if waits else pursuit


def trained(pursuit: Pursuit, rules: Rules, request_id: str, at_us: int) -> Pursuit:
    """The request led to a candidate; if it is not a challenger within a cool-down, it was refused."""
    if pursuit.request_id != request_id or pursuit.stage != "requested":
        return pursuit
    return replace(pursuit, stage="trained", not_before_us=at_us + rules.cooldown_us)


def failed(pursuit: Pursuit, rules: Rules, request_id: str) -> Pursuit:
    """The request led to no candidate."""
    return again(pursuit, rules) if pursuit.request_id == request_id else pursuit


def again(pursuit: Pursuit, rules: Rules) -> Pursuit:
    """A request came to nothing. While the incident is open: wait for twice as many outcomes, then ask again."""
    if pursuit.incident is None:
        return replace(pursuit, stage="watching", cause=None, request_id=None, not_before_us=NEVER)
    needed = rules.fresh_outcomes * min(LONGEST_WAIT, 2**pursuit.attempt)
    return replace(
        pursuit, stage="collecting", since_us=pursuit.asked_us[-1] if pursuit.asked_us else pursuit.since_us,
        needed=needed, attempt=pursuit.attempt + 1, request_id=None, not_before_us=NEVER,
    )  # fmt: skip


def led_in(pursuit: Pursuit) -> Pursuit:
    """The candidate is a challenger now: the looks decide."""
    return replace(pursuit, stage="rollout", not_before_us=NEVER)


def settled(pursuit: Pursuit) -> Pursuit:
    """Another version answers: what was pursued is there. Cool-down and limit go on."""
    return Pursuit(asked_us=pursuit.asked_us)


def dropped(pursuit: Pursuit, at_us: int) -> tuple[Pursuit, Held | None]:
    """The incident is over without a new version. What was only being waited for is not asked any more."""
    waits = pursuit.stage in ("collecting", "waiting") and pursuit.cause is not None
    if not waits or pursuit.cause is None:
        return replace(pursuit, incident=None), None
    held = Held(at_us, pursuit.cause, pursuit.attempt, pursuit.incident, _CLEARED, "cleared")
    return settled(pursuit), held


def _barred(pursuit: Pursuit, rules: Rules, at_us: int) -> tuple[int, str, str]:
    """Until when no request may go out, and why."""
    if not pursuit.asked_us:
        return 0, "", ""
    cool_us = pursuit.asked_us[-1] + rules.cooldown_us
    today = [t for t in pursuit.asked_us if t > at_us - DAY_US]
    if len(today) >= rules.max_per_day and today[-rules.max_per_day] + DAY_US > cool_us:
        full = (
            f"{len(today)} requests within a day, max_per_day is {rules.max_per_day}; asked again when one is a day old"
        )
        return today[-rules.max_per_day] + DAY_US, "max_per_day", full
    return cool_us, "cooldown", "in the cool-down after the last request; asked again when it ends"


_FROZEN: Final = "the model is frozen: unfreeze it, and the request goes out"
_CLEARED: Final = "the loss came back into tolerance before enough fresh outcomes had arrived"
