"""Ranks make every marginal the same, and show what two features do together."""

from __future__ import annotations

import numpy as np
import pytest
from river import drift

from driftloop_detect.errors import NotReady
from driftloop_detect.normal import NormalScores, projections


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_scores_of_the_same_world_are_normal_whatever_the_marginal() -> None:
    for shape in (np.exp, lambda x: x**3, lambda x: 1e9 + x):
        scores = NormalScores.of(shape(normal(1, 5_000)))(shape(normal(2, 50_000)))
        assert scores.mean() == pytest.approx(0, abs=0.05)
        assert scores.std() == pytest.approx(1, abs=0.05)


def test_a_detector_on_scores_alarms_alike_on_every_marginal() -> None:
    reference, values = normal(3, 5_000), normal(4, 6_000) + (np.arange(6_000) > 3_000) * 0.5

    def alarms(scores: np.ndarray) -> list[int]:
        detector, found = drift.ADWIN(), []
        for at, score in enumerate(scores.tolist()):
            detector.update(score)
            found += [at] if detector.drift_detected else []
        return found

    plain, skewed = NormalScores.of(reference)(values), NormalScores.of(np.exp(reference))(np.exp(values))
    assert alarms(plain) == alarms(skewed) != []


def test_ties_stand_in_the_middle_of_their_ranks_and_ends_are_finite() -> None:
    scores = NormalScores.of(np.repeat([0.0, 1.0], 500))
    found = scores(np.array([0.0, 1.0, -9.0, 9.0, np.inf, np.nan]))
    assert found[0] == pytest.approx(-found[1])
    assert found[2] == pytest.approx(-found[3])
    assert np.isfinite(found[:5]).all()
    assert np.isnan(found[5])


def test_a_reference_of_few_values_is_refused() -> None:
    with pytest.raises(NotReady, match="at least 500 finite values, got 2"):
        NormalScores.of(np.array([1.0, np.nan, 2.0]))


def test_a_projection_shows_two_features_that_begin_to_move_together() -> None:
    apart, shared = normal(5, 20_000, 2), normal(6, 20_000, 1)
    together = np.sqrt(0.5) * apart + np.sqrt(0.5) * shared
    plus, minus = projections(("a", "b"))
    assert apart.std(axis=0) == pytest.approx(together.std(axis=0), abs=0.03)
    assert plus(apart).std() == pytest.approx(1, abs=0.03)
    assert plus(together).std() > 1.15
    assert minus(together).std() < 0.85


def test_few_features_have_every_pair_and_many_a_draw_that_their_names_decide() -> None:
    assert len(projections(tuple("abcdefgh"))) == 56
    many = tuple(f"f{i}" for i in range(40))
    assert len(projections(many)) == 64
    turned = {frozenset((many[::-1][one.i], many[::-1][one.j])) for one in projections(many[::-1])}
    assert turned == {frozenset((many[one.i], many[one.j])) for one in projections(many)}
    assert projections(many) != projections((*many[:-1], "other"))
