"""One number a row, bounded where the loss is."""

import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from driftloop_models import LOSSES, brier, log_loss, losses, squared

RNG = np.random.default_rng(5)
P, Y = RNG.random(200), RNG.integers(0, 2, 200)
P3, Y3 = RNG.dirichlet([1, 1, 1], 200), RNG.integers(0, 3, 200)


def test_the_means_are_those_of_scikit_learn() -> None:
    assert log_loss(P, Y).mean() == pytest.approx(sklearn_log_loss(Y, P))
    assert log_loss(P3, Y3).mean() == pytest.approx(sklearn_log_loss(Y3, P3, labels=[0, 1, 2]))
    assert brier(P, Y).mean() == pytest.approx(brier_score_loss(Y, P))
    assert brier(P3, Y3).mean() == pytest.approx(((P3 - np.eye(3)[Y3]) ** 2).sum(axis=1).mean())
    assert squared([3.0, 1.0], [1.0, 1.0]).tolist() == [4.0, 0.0]


def test_one_overconfident_row_costs_a_bounded_loss() -> None:
    assert log_loss([0.0, 1.0], [1, 0]).tolist() == pytest.approx([-math.log(1e-6)] * 2)
    assert log_loss([[1.0, 0.0]], [1]).tolist() == pytest.approx([-math.log(1e-6)])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("score", "outcome", "said"),
    [([math.nan], [1], "finite"), ([0.5], [math.inf], "finite"), ([0.5, 0.5], [1], "shape")],
)
def test_what_is_not_finite_has_no_loss(name: str, score: Any, outcome: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        losses(name, score, outcome)


def test_an_unknown_loss_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="allowed: log_loss, brier, squared"):
        losses("auc", P, Y)
