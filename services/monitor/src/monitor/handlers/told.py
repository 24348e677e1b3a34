"""From the domain's verdicts to the words of the wire, each with the event that it follows from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from driftloop_contracts import Cause, Event, caused, derived_id
from driftloop_contracts.control_plane import CommandGiven, CommandRefused, DeploymentChanged
from driftloop_contracts.loop import (
    ChallengerJudged,
    DriftCleared,
    DriftDetected,
    DriftUpdated,
    Effect,
    Evidence,
    Histogram,
    Labels,
    MeasurementTaken,
    OffsetRange,
    Onset,
    Recommendation,
    RetrainRequested,
    RetrainSuppressed,
    RollbackAdvised,
    Signal,
    TrainingWindow,
)
from driftloop_detect.structural import Finding
from monitor.domain.deploy import Cleared
from monitor.domain.drifted import Drifted
from monitor.domain.histograms import Moved
from monitor.domain.judge import Look
from monitor.domain.policy import Ask, Held
from monitor.domain.rules import Rules
from monitor.domain.state import Comparison, Incident
from monitor.handlers.heard import cause_of, moment_of, us_of
from monitor.ports import Coverage

Offsets = Mapping[tuple[str, int], int]
# Structural checks are made at each of so many rows.
BEAT_ROWS: Final = 100


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of event time that was measured."""

    since_us: int
    until_us: int


def measured(
    cause: Cause, model: str, version: str, signal: str, span: Span, n: int, mean: float,
    minimum: float | None = None, maximum: float | None = None,
) -> Event[MeasurementTaken]:  # fmt: skip
    """One number of one version, over the span."""
    data = MeasurementTaken(
        model=model, version=version, signal=signal, n=n, mean=mean, minimum=minimum, maximum=maximum,
        window_start=moment_of(span.since_us), window_end=moment_of(span.until_us),
    )  # fmt: skip
    return caused(data, cause, f"{version}:{signal}:{span.until_us}", time=moment_of(span.until_us))


def detected(
    cause: Cause,
    model: str,
    found: Drifted,
    rules: Rules,
    coverage: Coverage,
    causes: Sequence[Histogram],
    *,
    frozen: bool,
) -> Event[DriftDetected]:
    """The alarm of the loss, caused by the outcome that closed the window."""
    data = DriftDetected(
        incident=derived_id(cause.id, f"incident:{model}:loss:{found.loss}"),
        model=model,
        version=found.version,
        signal=Signal(kind="loss", name=found.loss),
        kind="concept_drift",
        severity=found.severity,
        evidence=Evidence(
            detector="page_hinkley", semantics=found.semantics, statistic=found.statistic, threshold=found.threshold,
            params=dict(found.params), calibration=found.calibration,
        ),
        onset=Onset(
            estimate=moment_of(found.onset_us), since=moment_of(found.onset_since_us), until=moment_of(found.onset_until_us)
        ),
        detected_at=moment_of(found.close_us),
        delay_samples=found.samples,
        effects=[
            Effect(
                name="mean loss of a window", before=found.before, after=found.after,
                difference=found.after - found.before, interval=found.interval, unit=found.loss,
            )
        ],
        causes=list(causes),
        labels=labels_of(coverage),
        changed_meanwhile=list(found.changed),
        recommendation=_advice(found, rules, frozen),
    )  # fmt: skip
    return caused(data, cause, f"loss:{found.loss}:{found.close_us}", time=moment_of(found.close_us))


def check_name(finding: Finding) -> str:
    """What the check looks at, as one name."""
    return f"{finding.check.name}[{finding.check.segment}]" if finding.check.segment else finding.check.name


def broken(
    cause: Cause, model: str, version: str, finding: Finding, segment: str | None, at_us: int
) -> Event[DriftDetected]:
    """A structural fault, caused by the prediction that completed the rows in which it was seen."""
    check, name, moment = finding.check, check_name(finding), moment_of(at_us)
    data = DriftDetected(
        incident=derived_id(cause.id, f"incident:{model}:{check.kind}:{name}"),
        model=model,
        version=version,
        segment={segment: check.segment} if segment and check.segment else {},
        signal=Signal(kind=check.kind, name=check.name),
        kind="data_drift" if check.kind == "feature" else "schema",
        severity="warning",
        evidence=Evidence(
            detector="structural", semantics="driftloop-detect:structural", statistic=finding.observed, threshold=finding.limit,
            params={"compared": check.compared}, calibration="blocks of 1,000 of the version's training rows",
        ),
        onset=Onset(estimate=moment, since=moment, until=moment),
        detected_at=moment,
        delay_samples=BEAT_ROWS,
        effects=[
            Effect(
                name=check.compared, before=finding.expected, after=finding.observed,
                difference=finding.observed - finding.expected, unit=check.compared,
            )
        ],
        recommendation=Recommendation(action=finding.advice, reason=finding.reason),
    )  # fmt: skip
    return caused(data, cause, f"{check.kind}:{name}", time=moment)


def histogram(moved: Moved) -> Histogram:
    """A feature before and after."""
    return Histogram(
        feature=moved.feature,
        bins=list(moved.bins),
        before=list(moved.before),
        after=list(moved.after),
        distance=moved.psi,
    )


def updated(cause: Cause, model: str, incident: Incident, reason: str, at_us: int) -> Event[DriftUpdated]:
    """The incident has become worse or milder: its severity is the new one."""
    data = DriftUpdated(
        incident=incident.id, model=model, version=incident.version, severity=incident.severity, reason=reason
    )
    return caused(data, cause, f"{incident.id}:{at_us}", time=moment_of(at_us))


def cleared(cause: Cause, model: str, over: Cleared, at_us: int) -> Event[DriftCleared]:
    """The incident is over."""
    incident = over.incident
    data = DriftCleared(incident=incident.id, model=model, version=incident.version, reason=over.reason)
    return caused(data, cause, incident.id, time=moment_of(at_us))


def requested(
    model: str, deployment: DeploymentChanged | None, rules: Rules, ask: Ask, offsets: Offsets
) -> Event[RetrainRequested]:
    """A retrain on what arrived until then. Its bar is the champion's."""
    data = _request(model, deployment, rules, ask.at_us, offsets)
    data = data.model_copy(update={"incident": ask.incident, "reason": ask.reason, "attempt": ask.attempt})
    return caused(data, cause_of(ask.cause), f"attempt:{ask.attempt}", time=moment_of(ask.at_us))


def commanded(
    command: Event[CommandGiven], deployment: DeploymentChanged | None, rules: Rules, offsets: Offsets
) -> Event[RetrainRequested]:
    """A retrain that a person asked for: at the command's time, on what arrived until the time that it names."""
    given = command.data
    reason = f"asked for by {given.given_by}" + (f": {given.reason}" if given.reason else "")
    data = _request(given.model, deployment, rules, us_of(given.until or command.time), offsets)
    return caused(data.model_copy(update={"reason": reason}), command.as_cause())


def _request(
    model: str, deployment: DeploymentChanged | None, rules: Rules, until_us: int, offsets: Offsets
) -> RetrainRequested:
    champion = deployment.champion if deployment else None
    since = moment_of(until_us - rules.train_window_us) if rules.train_window_us else None
    return RetrainRequested(
        model=model,
        version=champion.version if champion else None,
        reason="",
        window=TrainingWindow(since=since, until=moment_of(until_us), offsets=ranges(offsets)),
        loss_to_beat=champion.loss_to_hold if champion else None,
        ceiling=deployment.ceiling if deployment else None,
    )


def refused(command: Event[CommandGiven], reason: str) -> Event[CommandRefused]:
    """The command will not be carried out."""
    data = CommandRefused(model=command.data.model, command=command.data.command, reason=reason)
    return caused(data, command.as_cause(), time=command.time)


def suppressed(model: str, version: str | None, held: Held) -> Event[RetrainSuppressed]:
    """A retrain was due and is not asked for."""
    data = RetrainSuppressed(model=model, version=version, incident=held.incident, reason=held.reason)
    return caused(data, cause_of(held.cause), f"attempt:{held.attempt}:{held.name}", time=moment_of(held.at_us))


def judged(model: str, rollout: Comparison, at_us: int, look: Look, rules: Rules) -> Event[ChallengerJudged]:
    """One look, caused by the deployment that began the rollout."""
    number = rollout.looked + 1
    data = ChallengerJudged(
        model=model, version=rollout.other, champion=rollout.champion, look=number, of=len(rollout.looks_us),
        since=moment_of(rollout.since_us), until=moment_of(at_us), rows=look.rows, windows=look.windows,
        loss=rules.gate_loss, gain=look.gain, lower=look.lower, resamples=look.resamples, seed=look.seed,
        champion_loss=look.champion_loss, challenger_loss=look.challenger_loss, floors=dict(look.floors),
        slices_worse=list(look.slices_worse), log_e=look.log_e, verdict=look.verdict, unit=unit_text(rules.unit_us),
    )  # fmt: skip
    return caused(data, cause_of(rollout.by), f"{rollout.other}:look:{number}", time=moment_of(at_us))


def rollback(model: str, guard: Comparison, at_us: int, look: Look, rules: Rules) -> Event[RollbackAdvised]:
    """The promoted version is clearly worse than the one that it replaced, on the same outcomes."""
    reason = (
        f"on {look.rows} outcomes of {look.windows} units version {guard.other} loses {look.challenger_loss:.4f} "
        f"{rules.gate_loss}, version {guard.champion} {look.champion_loss:.4f}; {look.reason}"
    )
    data = RollbackAdvised(
        model=model, version=guard.other, previous=guard.champion, reason=reason, evidence=[guard.by.id]
    )
    return caused(data, cause_of(guard.by), f"{guard.other}:guard:{guard.looked + 1}", time=moment_of(at_us))


def ranges(offsets: Offsets) -> list[OffsetRange]:
    """From each partition's first record to the offsets."""
    return [
        OffsetRange(topic=topic, partition=partition, start=0, end=end)
        for (topic, partition), end in sorted(offsets.items())
    ]


def labels_of(coverage: Coverage) -> Labels | None:
    """How much of the truth had arrived; None where none was due."""
    if coverage.predictions == 0:
        return None
    return Labels(
        coverage=coverage.labelled / coverage.predictions,
        delay_p50_s=None if coverage.delay_p50_us is None else coverage.delay_p50_us / 1e6,
        delay_p95_s=None if coverage.delay_p95_us is None else coverage.delay_p95_us / 1e6,
    )


def unit_text(unit_us: int) -> str:
    """The unit as a declaration would write it."""
    seconds = unit_us // 1_000_000
    for size, letter in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def _advice(found: Drifted, rules: Rules, frozen: bool) -> Recommendation:
    if frozen:
        return Recommendation(
            action="investigate", reason=f"{found.reason}; the model is frozen, so no retrain is asked for"
        )
    wait = f"a retrain is asked for after {rules.fresh_outcomes} outcomes that arrive after the alarm"
    return Recommendation(
        action="collect_labels", reason=f"{found.reason}; {wait}", training_since=moment_of(found.onset_us)
    )
