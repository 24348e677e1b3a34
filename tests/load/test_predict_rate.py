"""L2: 200 requests a second at serving as it ships, at their times, whatever it does: how late answers are, and that each is told.

The asking is a process of its own (`open_loop.py`). Latency counts from the time at which a request was due. `emission` is what
the answers wait for beside the model: their event made, and written to the spool; serving's own histogram says it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import uvloop
from tests.faults.account import Line, State
from tests.faults.reading import predicted
from tests.faults.report import Report
from tests.faults.results import ROOT, size
from tests.faults.verdict import Effect, judge
from tests.load import open_loop
from tests.load.by_hand import FEATURES, MODEL
from tests.load.costs import cpu_s
from tests.load.histogram import Histogram
from tests.load.served import deployed

from serving.testing.process import ServingProcess

pytestmark = [pytest.mark.faults, pytest.mark.stack]

PER_SECOND: Final = 200
SECONDS: Final = {"fast": 20, "whole": 120}
# At the same rate, and told as the others are; but connections and caches are new, so that their latency is no figure.
WARM_UP_S: Final = 5
ROWS: Final = 500
EMISSION: Final = "driftloop_emission_seconds"
WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answers:
    """To each request, in the order in which they were due; without those of the warm-up, but in the account."""

    lines: list[Line]
    late_ms: np.ndarray
    """How long after its time a request was sent."""
    took_ms: np.ndarray
    """How long after its time it was answered."""
    driver_cpu: float
    """Cores of whoever asked."""


@pytest.fixture
def serving(kafka: str, tmp_path: Path) -> Iterator[ServingProcess]:
    """It serves the linear model of 26 features."""
    with ServingProcess(kafka, tmp_path) as process:
        uvloop.run(deployed(process))
        yield process


def test_two_hundred_a_second_are_answered_soon_and_each_is_told_once(
    kafka: str, serving: ServingProcess, tmp_path: Path, report: Report
) -> None:
    seconds = SECONDS[size()]
    before, cpu = emission(serving), cpu_s(serving.process.pid)
    answers = asked(serving.port, tmp_path, seconds)
    spent, emitted = cpu_s(serving.process.pid) - cpu, emission(serving).since(before)
    serving.until_page("/ready", lambda said: said["spool_pending"] == 0, WITHIN_S)
    told = uvloop.run(predicted(kafka))
    latency = {f"p{share:g}_ms": round(float(np.percentile(answers.took_ms, share)), 2) for share in (50, 99, 99.9)}
    report(
        "L2", judge(answers.lines, [Effect(what, what, 0) for what in told]), **latency,
        emission_p50_ms=1e3 * emitted.at_most_s(0.5), emission_p99_ms=1e3 * emitted.at_most_s(0.99),
        emission_mean_ms=round(1e3 * emitted.mean_s, 3), seconds=seconds, requests=len(answers.took_ms),
        per_second=PER_SECOND, sent_late_p99_ms=round(float(np.percentile(answers.late_ms, 99)), 2),
        serving_cpu=round(spent / (seconds + WARM_UP_S), 3), driver_cpu=round(answers.driver_cpu, 3),
        load=round(os.getloadavg()[0], 1),
        bounds={"p99_ms": 25.0, "emission_p50_ms": 2.0, "refused": 0, "indefinite": 0},
    )  # fmt: skip


def asked(port: int, folder: Path, seconds: float) -> Answers:
    """The server was asked at its rate for so long, and for the warm-up before."""
    rows = np.random.default_rng(7).normal(size=(ROWS, len(FEATURES))).round(6).tolist()
    features, out = folder / "features.jsonl", folder / "answers.json"
    features.write_text("\n".join(json.dumps(dict(zip(FEATURES, row, strict=True))) for row in rows))
    words = [str(port), f"/predict/{MODEL}", str(PER_SECOND), str(seconds + WARM_UP_S), str(features), str(out)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "tests.load.open_loop", *words], check=True, timeout=seconds + WITHIN_S, cwd=ROOT
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = open_loop.Asked(**json.loads(out.read_text()))
    counted = slice(WARM_UP_S * PER_SECOND, None)
    took, late = (1e3 * np.asarray(values)[counted] for values in (said.took_s, said.sent_s))
    return Answers(lines(said), late, took, cpu / (seconds + WARM_UP_S))


def lines(said: open_loop.Asked) -> list[Line]:
    """The account of whoever asked."""
    states: dict[int, State] = {200: "ok", open_loop.NO_ANSWER: "indefinite"}
    return [
        Line(due, "rate", f"r{n}", n, f"r{n}", states.get(status, "fail"))
        for n, (due, status) in enumerate(zip(said.due, said.status, strict=True))
    ]


def emission(serving: ServingProcess) -> Histogram:
    """What events have cost answers by now."""
    return Histogram.read(serving.get("/metrics").text, EMISSION)
