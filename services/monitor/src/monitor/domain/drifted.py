"""An alarm of the loss, in full: how large, since when, how bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from driftloop_detect.windows import Judged
from monitor.domain.judge import seed_of
from monitor.domain.rules import Rules
from monitor.domain.state import ModelState
from monitor.domain.watch import Seen, Watch, bar_of, rise, since_onset


@dataclass(frozen=True, slots=True)
class Drifted:
    """The loss of closed windows has risen, by river's own verdict."""

    version: str
    loss: str
    close_us: int
    statistic: float
    threshold: float
    semantics: str
    params: Mapping[str, float | int | str | bool]
    calibration: str
    onset_us: int
    """The start of the first window of the changed world."""
    onset_since_us: int
    onset_until_us: int
    before: float
    after: float
    interval: tuple[float, float] | None
    samples: int
    """Outcomes since the onset."""
    severity: str
    reason: str
    changed: tuple[str, ...]
    """Deployments and declarations in the onset window."""


def drifted(state: ModelState, rules: Rules, watch: Watch, judged: Judged) -> Drifted:
    """The alarm of the window that was just closed, from what the watch remembers."""
    since = since_onset(watch, judged.onset_us)
    onset_us = since[0].close_us - rules.window_us
    bar, close_us = bar_of(watch, rules), judged.window.close_us
    spec = rules.trigger.spec
    means, rows = np.array([s.mean for s in since]), np.array([s.n for s in since])
    severity, reason = severity_of(since)
    return Drifted(
        version=watch.version,
        loss=rules.trigger_loss,
        close_us=close_us,
        statistic=judged.statistic,
        threshold=rules.threshold,
        semantics=spec.semantics,
        params=spec.settings,
        calibration=f"{len(bar.values)} windows of the version's back-test, sd {bar.sd:.4g}" if bar else "",
        onset_us=onset_us,
        onset_since_us=onset_us - rules.window_us,
        onset_until_us=close_us,
        before=bar.mean if bar else 0.0,
        after=float(np.average(means, weights=rows)),
        interval=rise(bar, since, seed_of(f"{state.model}:{close_us}")) if bar else None,
        samples=int(rows.sum()),
        severity=severity,
        reason=reason,
        changed=tuple(c.id for c in state.changes if onset_us - rules.window_us <= c.time_us <= close_us),
    )


def severity_of(since: list[Seen]) -> tuple[str, str]:
    """critical when the version is no better than the rate of the last 24 hours, else warning; and why."""
    both = [(s.gate_loss, s.floor, s.n) for s in since if s.gate_loss is not None and s.floor is not None]
    if not both:
        return "warning", "no floor to compare with"
    rows = [n for *_, n in both]
    ours = float(np.average([ours for ours, _, _ in both], weights=rows))
    floor = float(np.average([floor for _, floor, _ in both], weights=rows))
    if ours >= floor:
        return "critical", f"it loses {ours:.4f}, the rate of the last 24 hours alone {floor:.4f}"
    return "warning", f"it loses {ours:.4f}, still less than the rate of the last 24 hours, {floor:.4f}"
