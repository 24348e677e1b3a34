"""One budget for all streams: what it lets through while nothing changes, and where it opens incidents."""

from __future__ import annotations

import numpy as np
import pytest

from driftloop_detect.fleet import Path, alpha, calibrated, declare, incidents

SIZE = 3.0


def nothing(random: np.random.Generator, streams: int) -> np.ndarray:
    """Log evidence of streams that stand still: e-values of mean 1, half of their sizes shared by all."""
    shared = random.standard_normal()
    size = SIZE * (np.sqrt(0.5) * shared + np.sqrt(0.5) * random.standard_normal(streams))
    return size - SIZE**2 / 2


def test_of_streams_that_stand_still_hardly_one_tick_in_alpha_declares() -> None:
    random, ticks = np.random.default_rng(1), 20_000
    false = sum(len(declare(nothing(random, 20), alpha=0.05).streams) > 0 for _ in range(ticks))
    assert 0 < false < 0.05 * ticks


def test_the_share_of_the_false_among_the_declared_is_held() -> None:
    random, shares, found = np.random.default_rng(2), [], []
    for _ in range(500):
        log_e = nothing(random, 200)
        log_e[:40] += random.normal(9, 3, 40)
        streams = declare(log_e, alpha=0.1).streams
        shares.append((streams >= 40).sum() / max(1, len(streams)))
        found.append((streams < 40).sum())
    assert np.mean(shares) <= 0.1
    assert np.mean(found) > 15, "and it is not held by declaring nothing"


def test_many_that_move_together_need_less_than_one_alone() -> None:
    alone, together = np.full(100, -1.0), np.full(100, -1.0)
    alone[0], together[:20] = 8.0, 8.0
    assert len(declare(alone, alpha=0.01).streams) == 0
    assert len(declare(together, alpha=0.01).streams) == 20


def test_the_heavier_of_two_equals_is_declared() -> None:
    log_e = np.array([6.0, 6.0, 0.0, 0.0])
    assert declare(log_e, 0.01, np.array([8.0, 1.0, 1.0, 1.0])).streams.tolist() == [0]
    assert declare(log_e, 0.01, np.array([0.0, 8.0, 1.0, 1.0])).streams.tolist() == [1]


def test_one_number_a_month_becomes_a_share_of_each_tick() -> None:
    assert alpha(1.0) == pytest.approx(1 / 518_400)
    with pytest.raises(ValueError, match="above 0, got 0"):
        alpha(0)


def test_evidence_against_a_small_reference_counts_less() -> None:
    corrected = calibrated(np.array([20.0, 20.0]), np.array([10.0, 14.0]), arl_rows=2_000_000, block=32)
    assert corrected[0] == 20
    assert corrected[1] == pytest.approx(20 - (14 - np.log(62_500)))


def paths() -> list[Path]:
    return [("m", "all", family, name) for family, names in (("x", "abcd"), ("loss", "e")) for name in names] + [
        ("other", "all", "x", "a")
    ]


def test_a_cause_that_moves_one_stream_is_an_incident_there_and_one_that_moves_all_is_one_of_the_model() -> None:
    one, every = np.full(6, -3.0), np.array([30.0, 31.0, 29.0, 30.0, 28.0, -3.0])
    one[1] = 40.0
    assert list(incidents(paths(), declare(one, 0.001))) == [("m", "all", "x", "b")]
    (node,) = incidents(paths(), declare(every, 0.001))
    assert node == ("m",)


def test_no_stream_is_no_incident() -> None:
    assert len(declare(np.zeros(0), 0.1).streams) == 0
    assert incidents(paths(), declare(np.full(6, -1.0), 0.1)) == {}


def test_two_streams_of_one_path_are_a_mistake() -> None:
    log_e = np.full(2, 20.0)
    with pytest.raises(ValueError, match="one path"):
        incidents([("m", "a"), ("m", "a")], declare(log_e, 0.1))
