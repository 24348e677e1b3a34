"""The slope tells a leak from a process that breathes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from tests.load.trend import BREATH, MIB, Sample, Samples, slope, trend

AN_HOUR = [float(t) for t in range(0, 3000, 10)]


def _samples(grown_mib_per_10min: float, fds_an_hour: int = 0) -> list[Sample]:
    """A process that breathes by a MiB, with a descriptor that comes and goes each minute."""
    random = np.random.default_rng(6)
    breath = random.normal(0, 1.0, len(AN_HOUR))
    rss = [int((100 + grown_mib_per_10min * t / 600 + more) * MIB) for t, more in zip(AN_HOUR, breath, strict=True)]
    fds = [30 + i % 12 // 6 + int(fds_an_hour * t / 3600) for i, t in enumerate(AN_HOUR)]
    return [Sample(t, "part", *held, threads=4, tasks=12) for t, *held in zip(AN_HOUR, rss, fds, strict=True)]


@pytest.mark.parametrize("grown", [0.0, 0.8, 1.3, 5.0])
def test_the_slope_of_an_hour_is_right_to_a_tenth_of_a_mib(grown: float) -> None:
    assert trend(_samples(grown)).rss_mib_per_10min == pytest.approx(grown, abs=0.1)


def test_a_step_that_comes_once_is_no_slope_and_a_few_odd_samples_are_none() -> None:
    odd = [9.0 if t in (500, 1000, 2990) else 1.0 for t in AN_HOUR]
    assert slope(AN_HOUR, odd) == 0
    early = [1.0 if t < 300 else 9.0 for t in AN_HOUR]
    assert slope(AN_HOUR, early) == 0


def test_what_comes_and_goes_is_flat_and_a_descriptor_lost_each_minute_is_not() -> None:
    assert trend(_samples(0.0)).fds_grown == 0
    assert trend(_samples(0.0, fds_an_hour=60)).fds_grown == pytest.approx(50, abs=2)


def test_one_moment_has_no_slope() -> None:
    with pytest.raises(ValueError, match="two moments"):
        slope([1.0, 1.0], [1.0, 2.0])


def test_a_sample_is_of_a_process_that_is_there_and_is_on_the_disk(tmp_path: Path) -> None:
    samples = Samples(tmp_path / "new" / "samples.jsonl")
    for _ in range(BREATH + 1):
        samples.take({"me": os.getpid()}, lambda _: 3)
        time.sleep(0.1)
    assert samples.path.read_text().count('"part": "me"') == BREATH + 1
    assert samples.trends(0)["me"].rss_mib > 1
