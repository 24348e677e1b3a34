"""Incidents of drift: opened, changed, over."""

from __future__ import annotations

from collections.abc import Sequence

from driftloop_contracts import Cause, Event, caused, derived_id
from driftloop_contracts.loop import (
    DriftCleared,
    DriftDetected,
    DriftUpdated,
    Effect,
    Evidence,
    Histogram,
    Labels,
    Onset,
    Recommendation,
    Signal,
)  # fmt: skip
from driftloop_detect.structural import Finding
from monitor.domain.deploy import Cleared
from monitor.domain.drifted import Drifted
from monitor.domain.faults import Reach
from monitor.domain.histograms import Moved
from monitor.domain.rules import Rules
from monitor.domain.state import Incident
from monitor.handlers.heard import moment_of
from monitor.ports import Coverage


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


def broken(
    cause: Cause, model: str, version: str, finding: Finding, reached: Reach, segment: str | None, at_us: int
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
        severity=reached.severity,
        evidence=Evidence(
            detector="structural", semantics="driftloop-detect:structural", statistic=finding.observed, threshold=finding.limit,
            params={"compared": check.compared}, calibration="blocks of 1,000 of the version's training rows",
        ),
        onset=Onset(estimate=moment, since=moment, until=moment),
        detected_at=moment,
        delay_samples=reached.samples,
        effects=[
            Effect(
                name=check.compared, before=finding.expected, after=finding.observed,
                difference=finding.observed - finding.expected, unit=check.compared,
            )
        ],
        # The contract has no word for a share that is not known: its default stands.
        traffic_share=1.0 if reached.share is None else reached.share,
        recommendation=Recommendation(action=finding.advice, reason=finding.reason),
    )  # fmt: skip
    return caused(data, cause, f"{check.kind}:{name}", time=moment)


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


def check_name(finding: Finding) -> str:
    """What the check looks at, as one name."""
    return f"{finding.check.name}[{finding.check.segment}]" if finding.check.segment else finding.check.name


def histogram(moved: Moved) -> Histogram:
    """A feature before and after."""
    return Histogram(
        feature=moved.feature,
        bins=list(moved.bins),
        before=list(moved.before),
        after=list(moved.after),
        distance=moved.psi,
    )


def labels_of(coverage: Coverage) -> Labels | None:
    """How much of the truth had arrived; None where none was due."""
    if coverage.predictions == 0:
        return None
    return Labels(
        coverage=coverage.labelled / coverage.predictions,
        delay_p50_s=None if coverage.delay_p50_us is None else coverage.delay_p50_us / 1e6,
        delay_p95_s=None if coverage.delay_p95_us is None else coverage.delay_p95_us / 1e6,
    )


def _advice(found: Drifted, rules: Rules, frozen: bool) -> Recommendation:
    if frozen:
        return Recommendation(
            action="investigate", reason=f"{found.reason}; the model is frozen, so no retrain is asked for"
        )
    wait = f"a retrain is asked for after {rules.fresh_outcomes} outcomes that arrive after the alarm"
    return Recommendation(
        action="collect_labels", reason=f"{found.reason}; {wait}", training_since=moment_of(found.onset_us)
    )
