"""What a model should lose before its outcomes are there; and where that is wrong by design."""

from __future__ import annotations

import numpy as np
import pytest

from driftloop_detect.errors import NotReady
from driftloop_detect.estimate import Calibration


def rows(seed: int, n: int, centre: float = 0.0, turn: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are too sure of themselves, and outcomes. turn: what the feature means today."""
    random = np.random.default_rng(seed)
    x = random.normal(centre, 1, n)
    outcomes = (random.random(n) < 1 / (1 + np.exp(-turn * x))).astype(float)
    return 1 / (1 + np.exp(-3 * x)), outcomes


def wrong(scores: np.ndarray, outcomes: np.ndarray) -> float:
    return float(((scores >= 0.5) != (outcomes == 1)).mean())


@pytest.mark.parametrize("centre", [0.0, 1.0, 2.0, -1.5])
def test_the_error_of_a_world_that_asks_other_questions_is_foretold(centre: float) -> None:
    calibration = Calibration.fit(*rows(1, 20_000))
    scores, outcomes = rows(2, 20_000, centre)
    assert calibration.error(scores, 0.5).mean() == pytest.approx(wrong(scores, outcomes), abs=0.015)


def test_it_is_blind_to_a_world_that_answers_otherwise() -> None:
    calibration = Calibration.fit(*rows(3, 20_000))
    scores, outcomes = rows(4, 20_000, turn=-1.0)
    assert wrong(scores, outcomes) > 0.6
    assert calibration.error(scores, 0.5).mean() < 0.4


def test_probabilities_never_fall_and_average_to_the_outcomes() -> None:
    scores, outcomes = rows(5, 5_000)
    calibration = Calibration.fit(scores, outcomes)
    assert (np.diff(calibration.probabilities) >= 0).all()
    assert calibration.probability(scores).mean() == pytest.approx(outcomes.mean())


def test_the_expected_confusion_is_that_of_the_outcomes() -> None:
    calibration = Calibration.fit(*rows(6, 20_000))
    scores, outcomes = rows(7, 20_000, 0.5)
    expected, positive = calibration.confusion(scores, 0.5), scores >= 0.5
    assert expected.precision == pytest.approx(outcomes[positive].mean(), abs=0.02)
    assert expected.recall == pytest.approx(positive[outcomes == 1].mean(), abs=0.02)
    parts = (expected.true_positive, expected.false_positive, expected.true_negative, expected.false_negative)
    assert sum(parts) == pytest.approx(1)
    assert expected.error == pytest.approx(wrong(scores, outcomes), abs=0.02)


def test_without_positives_precision_is_not_a_number() -> None:
    calibration = Calibration.fit(*rows(8, 1_000))
    assert np.isnan(calibration.confusion(np.full(10, 0.1), 0.5).precision)


def test_too_few_rows_and_scores_that_are_none_are_refused() -> None:
    with pytest.raises(NotReady, match="at least 500 rows with score and outcome, got 499"):
        Calibration.fit(*rows(9, 499))
    with pytest.raises(NotReady, match="no row has a finite score"):
        Calibration.fit(*rows(10, 600)).confusion(np.array([np.nan]), 0.5)


def test_a_missing_score_has_no_estimate_and_spoils_no_other() -> None:
    error = Calibration.fit(*rows(11, 600)).error(np.array([np.nan, 0.9]), 0.5)
    assert np.isnan(error[0])
    assert np.isfinite(error[1])
