"""A quantile that is read from a histogram is never smaller than the true one."""

from __future__ import annotations

from tests.load.histogram import Histogram

from driftloop_kit.telemetry import Telemetry


def _told(telemetry: Telemetry) -> Histogram:
    return Histogram.read(telemetry.exposition().decode(), "driftloop_emission_seconds")


def test_what_came_between_two_looks_is_counted_and_its_quantiles_are_upper_edges() -> None:
    telemetry = Telemetry("load")
    telemetry.time("driftloop_emission_seconds", 5.0)
    before = _told(telemetry)
    for seconds in (0.0004, 0.0009, 0.0011, 0.7):
        telemetry.time("driftloop_emission_seconds", seconds)
    between = _told(telemetry).since(before)
    assert between.count == 4
    assert round(between.mean_s, 4) == round(0.7024 / 4, 4)
    assert [between.at_most_s(share) for share in (0.25, 0.5, 0.75, 1.0)] == [0.0005, 0.001, 0.0025, 1.0]
