"""The gate: the one place where a version is let through, first on its back-test, then on live outcomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from registry.domain.deployment import Deployment
from registry.domain.policy import Policy

# The mean of fewer rows says nothing of a slice.
MIN_SLICE_ROWS: Final = 30


@dataclass(frozen=True, slots=True)
class Bar:
    """The mean loss of a back-test, with its 95 % interval where it has one."""

    mean: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """The losses of candidate and incumbent on one declared slice."""

    name: str
    rows: int
    candidate: float
    incumbent: float | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a training says of its version. `gain` is incumbent minus candidate, on the same rows."""

    version: str
    loss: Bar
    gain: float | None = None
    compared_with: str | None = None
    slices: tuple[Slice, ...] = ()
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One look at a rollout: challenger against champion on the same live outcomes. Greater gains are better."""

    version: str
    champion: str
    look: int
    of: int
    rows: int
    gain: float
    lower: float
    challenger_loss: float
    floors: dict[str, float]
    since: datetime
    """When the comparison began."""
    slices_worse: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """It may not serve, for a reason that a person can act on; `missing` names what would open the gate."""

    reason: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class First:
    """It answers at once: there is nothing to compare it with."""


@dataclass(frozen=True, slots=True)
class Compare:
    """It is led in as a challenger."""


@dataclass(frozen=True, slots=True)
class Promote:
    """It answers from now on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing changes until the next look."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """It is about a comparison that is over."""

    reason: str


def judge(
    candidate: Candidate, deployment: Deployment, ceiling: Bar | None, policy: Policy, *, approved: bool = False
) -> Refuse | First | Compare | Promote:
    """What the back-test allows.

    ceiling: the bar that a person accepted, if any. approved: a person has approved this very version, which opens what waits
    for approval and nothing else.
    """
    if deployment.frozen:
        return Refuse("the model is frozen: unfreeze it, then train again", ("unfreeze",))
    if too_slow := _latency(candidate, policy):
        return too_slow
    if deployment.champion and (worse := _worse_than_incumbent(candidate, policy)):
        return worse
    if not approved and (waits := _waits_for_approval(candidate, ceiling, policy)):
        return waits
    if deployment.champion is None:
        return First()
    return _led_in(candidate, deployment.champion.version, policy)


def _led_in(candidate: Candidate, champion: str, policy: Policy) -> Refuse | Compare | Promote:
    if policy.mode == "shadow":
        return Compare()
    # Without live looks the back-test is all there is, so it must be against who answers now.
    if candidate.compared_with != champion:
        return Refuse(
            f"its back-test was compared with version {candidate.compared_with}, but version {champion} answers now: "
            "train again",
            ("comparison",),
        )
    return Promote("its back-test beats the champion's on the same rows, and the declaration promotes directly")


def _latency(candidate: Candidate, policy: Policy) -> Refuse | None:
    allowed = policy.max_latency_ms
    if allowed is None:
        return None
    if candidate.latency_ms is None:
        return Refuse(f"its latency was not measured; the declaration allows {allowed:g} ms", ("latency",))
    if candidate.latency_ms > allowed:
        return Refuse(
            f"scoring one row takes {candidate.latency_ms:.3g} ms; the declaration allows {allowed:g} ms", ("latency",)
        )
    return None


def _worse_than_incumbent(candidate: Candidate, policy: Policy) -> Refuse | None:
    demanded = policy.must_beat_incumbent_by
    if candidate.gain is None:
        return Refuse("its back-test has no loss of the incumbent on the same rows: train again", ("comparison",))
    if candidate.gain <= demanded:
        return Refuse(
            f"on its back-test it gains {candidate.gain:.4g} over version {candidate.compared_with}; "
            f"the gate demands more than {demanded:g}",
            ("gain",),
        )
    if worse := worse_slices(candidate.slices):
        return Refuse(f"on its back-test it is worse than the incumbent where {'; '.join(worse)}", ("slices",))
    return None


def worse_slices(slices: Sequence[Slice]) -> list[str]:
    """Slices on which the candidate loses, in words."""
    return [
        f"{part.name} ({part.candidate:.4g} against {part.incumbent:.4g} on {part.rows} rows)"
        for part in slices
        if part.incumbent is not None and part.rows >= MIN_SLICE_ROWS and part.candidate > part.incumbent
    ]


def _waits_for_approval(candidate: Candidate, ceiling: Bar | None, policy: Policy) -> Refuse | None:
    how = f"it waits for approval: driftloop approve MODEL --version {candidate.version}"
    if policy.approval_required:
        return Refuse(f"the declaration demands approval; {how}", ("approval",))
    if ceiling and _clearly_above(candidate.loss, ceiling):
        return Refuse(
            f"its back-test loss of {_words(candidate.loss)} is above the ceiling of {_words(ceiling)} that a person "
            f"accepted, by more than its interval; {how}",
            ("approval",),
        )
    return None


def _clearly_above(loss: Bar, ceiling: Bar) -> bool:
    """Whether the whole interval of the loss lies above the whole interval of the ceiling."""
    low = loss.interval[0] if loss.interval else loss.mean
    high = ceiling.interval[1] if ceiling.interval else ceiling.mean
    return low > high


def _words(bar: Bar) -> str:
    return f"{bar.mean:.4g}" + (f" [{bar.interval[0]:.4g}, {bar.interval[1]:.4g}]" if bar.interval else "")


def next_step(deployment: Deployment, judgement: Judgement, policy: Policy) -> Promote | Hold | Refuse | Ignore:
    """What one look at live outcomes decides."""
    rollout, champion = deployment.rollout, deployment.champion
    if rollout is None or rollout.version != judgement.version:
        return Ignore(f"version {judgement.version} is no challenger any more")
    if judgement.since < rollout.since:
        return Ignore(f"it is about an earlier comparison of version {judgement.version}")
    if champion is None or champion.version != judgement.champion:
        return Ignore(f"it compares with version {judgement.champion}, which is no champion any more")
    lacks = _lacking(judgement, policy) | ({"unfreeze": "the model is frozen"} if deployment.frozen else {})
    reason = f"look {judgement.look} of {judgement.of}, {judgement.rows} outcomes: " + (
        "; ".join(lacks.values()) or _gained(judgement)
    )
    if not lacks:
        return Promote(reason)
    if judgement.look < judgement.of:
        return Hold(reason)
    return Refuse(reason, tuple(lacks))


def _lacking(judgement: Judgement, policy: Policy) -> dict[str, str]:
    """What the gate still misses, by name, in words."""
    lacks: dict[str, str] = {}
    demanded = policy.must_beat_incumbent_by
    if judgement.gain <= demanded:
        lacks["gain"] = f"a gain of {judgement.gain:.4g} is not above {demanded:g}"
    if judgement.lower <= demanded:
        lacks["lower"] = f"the lower bound {judgement.lower:.4g} of the gain is not above {demanded:g}"
    lacks |= _floors(judgement, policy)
    if judgement.slices_worse:
        lacks["slices"] = f"worse where {', '.join(judgement.slices_worse)}"
    return lacks


def _floors(judgement: Judgement, policy: Policy) -> dict[str, str]:
    lacks: dict[str, str] = {}
    for floor in policy.floors:
        loss = judgement.floors.get(floor)
        if loss is None:
            lacks[floor] = f"the floor {floor} was not measured"
        elif judgement.challenger_loss >= loss:
            lacks[floor] = f"a loss of {judgement.challenger_loss:.4g} is not below the floor {floor} of {loss:.4g}"
    return lacks


def _gained(judgement: Judgement) -> str:
    return f"a gain of {judgement.gain:.4g} with a lower bound of {judgement.lower:.4g}"
