"""What a new deployment changes for the monitor: whom it watches, whom it compares, which incidents are over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from driftloop_detect.calendar import Window
from monitor.domain.link import Link
from monitor.domain.losses import DAY_US
from monitor.domain.policy import again, led_in, settled, thawed
from monitor.domain.rules import Rules
from monitor.domain.state import Comparison, Incident, ModelState, Served
from monitor.domain.watch import rebuilt, started

# After a promotion the version that was replaced is the challenger at these times.
GUARD_LOOKS_US: Final = (7 * DAY_US, 14 * DAY_US)
# A live stream's watermark lags by less.
FAR_US: Final = 30 * DAY_US
# Enough for an onset window of weeks; more is no use to a reader.
REMEMBERED_CHANGES: Final = 16
# Compaction leaves one of a model; until it comes its topic holds what was said in some hours.
REMEMBERED_DECLARATIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that answers from `since_us` on."""

    version: str
    since_us: int
    backtest: tuple[Window, ...]
    """Empty where it brings no losses to hold in the trigger's loss."""
    reference: str | None


@dataclass(frozen=True, slots=True)
class Challenger:
    """The version that may replace it."""

    version: str
    since_us: int
    looks_us: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Deployment:
    """The whole state of what answers."""

    revision: int
    by: Link
    champion: Champion | None
    challenger: Challenger | None
    previous: tuple[str, int] | None
    """The version before, and until when it is still scored."""
    frozen: bool


@dataclass(frozen=True, slots=True)
class Cleared:
    """An incident is over."""

    incident: Incident
    reason: str


def deployed(state: ModelState, rules: Rules, new: Deployment) -> tuple[ModelState, list[Cleared]]:
    """The state under the new deployment. A champion that is new is held to its own back-test from its first row."""
    new = in_stream_time(new, state.clocks.watermark)
    was = state.served.version if state.served else None
    cleared: list[Cleared] = []
    if new.champion is None:
        state = replace(state, served=None, watch=None, guard=None)
    elif new.champion.version != was:
        state, cleared = _promoted(state, rules, new, new.champion)
    state = _compared(state, rules, new)
    # A person's clock may be years from a replayed stream's: what was held back is due now, whatever it says.
    now_us = min(new.by.time_us, state.clocks.watermark - 1)
    pursuit = thawed(state.pursuit, now_us) if state.frozen and not new.frozen else state.pursuit
    changed = replace(state, revision=new.revision, frozen=new.frozen, pursuit=pursuit)
    return noted(changed, new.by), cleared


def in_stream_time(new: Deployment, watermark: int) -> Deployment:
    """A champion since a time that the stream is far from (a person's wall clock over a replay) serves from now on."""
    if new.champion is None or watermark == 0 or new.champion.since_us - watermark <= FAR_US:
        return new
    return replace(new, champion=replace(new.champion, since_us=watermark))


def declared(state: ModelState, rules: Rules, by: Link, champion: Champion | None) -> ModelState:
    """The state under rules that hold from now on; a detector with other settings starts anew on the same bar."""
    old, watch = state.rules, state.watch
    if watch and champion and old and _watched(old) != _watched(rules):
        watch = rebuilt(watch, rules, champion.backtest)
    return noted(replace(state, rules=rules, watch=watch, retired=False), by)


def retired(state: ModelState, reason: str) -> tuple[ModelState, list[Cleared]]:
    """Nothing of the model is watched any more."""
    cleared = [Cleared(incident, f"the model is retired: {reason}") for incident in state.incidents]
    over = replace(state, retired=True, watch=None, rollout=None, guard=None, incidents=())
    return replace(over, pursuit=settled(state.pursuit)), cleared


def heard(state: ModelState, declaration: str) -> ModelState | None:
    """The state that remembers this declaration or retirement; None when it was heard before.

    Their topic is read from its beginning again and again, and has no revisions: an old one would undo what came after it,
    and make the detector forget.
    """
    if declaration in state.declarations:
        return None
    return replace(state, declarations=(*state.declarations, declaration)[-REMEMBERED_DECLARATIONS:])


def noted(state: ModelState, change: Link) -> ModelState:
    """The change is remembered among the newest."""
    others = tuple(link for link in state.changes if link.id != change.id)
    return replace(state, changes=(*others, change)[-REMEMBERED_CHANGES:])


def _promoted(state: ModelState, rules: Rules, new: Deployment, champion: Champion) -> tuple[ModelState, list[Cleared]]:
    served = Served(champion.version, champion.since_us, new.by, champion.reference)
    over = [
        Cleared(incident, f"version {champion.version} replaced {incident.version}") for incident in state.incidents
    ]
    watch = started(champion.version, champion.since_us, champion.backtest, rules)
    guard = _guard(champion, new)
    pursuit = settled(state.pursuit)
    return replace(
        state, served=served, watch=watch, guard=guard, incidents=(), pursuit=pursuit, outcomes=(0, 0.0)
    ), over


def _guard(champion: Champion, new: Deployment) -> Comparison | None:
    if new.previous is None:
        return None
    version, until_us = new.previous
    looks = tuple(champion.since_us + after for after in GUARD_LOOKS_US)
    return Comparison(version, champion.version, champion.since_us, looks, new.by, until_us)


def _compared(state: ModelState, rules: Rules, new: Deployment) -> ModelState:
    """The rollout goes on, begins, or is over; one that is over without a promotion came to nothing."""
    going = state.rollout
    if new.challenger is None or new.champion is None:
        refused = going is not None and state.pursuit.stage == "rollout"
        return replace(state, rollout=None, pursuit=again(state.pursuit, rules) if refused else state.pursuit)
    if going and (going.other, going.champion) == (new.challenger.version, new.champion.version):
        return replace(state, rollout=replace(going, looks_us=new.challenger.looks_us))
    begun = Comparison(
        new.champion.version, new.challenger.version, new.challenger.since_us, new.challenger.looks_us, new.by
    )
    return replace(state, rollout=begun, pursuit=led_in(state.pursuit))


def _watched(rules: Rules) -> tuple[object, ...]:
    return rules.trigger_loss, rules.delta, rules.threshold
