"""Linear and logistic models as two arrays, scored in numpy: scikit-learn's call alone costs fifty times as much."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from driftloop_models.encoder import Encoder
from driftloop_models.refusal import ModelRefused
from driftloop_models.rows import Columns, Floats


@dataclass(frozen=True)
class Linear:
    """coef of shape (outputs, width), intercept of shape (outputs,); one output for binary and regression."""

    coef: Floats
    intercept: Floats

    def __post_init__(self) -> None:
        if self.coef.ndim != 2 or self.intercept.shape != self.coef.shape[:1] or not self.coef.size:
            raise ModelRefused(
                f"linear: coef {self.coef.shape} and intercept {self.intercept.shape} do not fit: "
                "expected (outputs, width) and (outputs,)"
            )
        if not (np.isfinite(self.coef).all() and np.isfinite(self.intercept).all()):
            raise ModelRefused("linear: coefficients must be finite")

    @classmethod
    def of(cls, estimator: Any) -> "Linear":
        """The arrays of a fitted scikit-learn linear or logistic regression."""
        coef = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
        intercept = np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64))
        # Without an intercept scikit-learn keeps a scalar 0 for any number of outputs.
        return cls(coef, np.broadcast_to(intercept, coef.shape[:1]).copy())

    @property
    def width(self) -> int:
        """Number of matrix columns this model was fitted on."""
        return int(self.coef.shape[1])

    def decide(self, encoder: Encoder, columns: Columns) -> Floats:
        """The linear predictor, shape (n, outputs). Absurd inputs overflow to infinity, which whoever asked refuses."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.column_stack([encoder.dot(columns, weights) for weights in self.coef]) + self.intercept

    def probabilities(self, encoder: Encoder, columns: Columns) -> Floats:
        """Class probabilities, shape (n, classes): logistic for one output, softmax for several."""
        scores = self.decide(encoder, columns)
        if scores.shape[1] == 1:
            positive = logistic(scores[:, 0])
            return np.column_stack([1.0 - positive, positive])
        with np.errstate(invalid="ignore"):
            grown = np.exp(scores - scores.max(axis=1, keepdims=True))
            normed: Floats = grown / grown.sum(axis=1, keepdims=True)
        return normed

    def to_json(self) -> dict[str, Any]:
        return {"coef": self.coef.tolist(), "intercept": self.intercept.tolist()}

    @classmethod
    def from_json(cls, document: Any) -> "Linear":
        """Raises ModelRefused where the document is not what `to_json` writes."""
        if not isinstance(document, dict) or set(document) != {"coef", "intercept"}:
            raise ModelRefused("linear.json: expected an object with coef and intercept")
        try:
            return cls(*(np.array(document[part], dtype=np.float64) for part in ("coef", "intercept")))
        except (TypeError, ValueError) as reason:
            raise ModelRefused(f"linear.json: {reason}") from reason


def logistic(scores: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow at either end."""
    shrunk = np.exp(-np.abs(scores))
    up: Floats = np.where(scores >= 0, 1.0, shrunk) / (1.0 + shrunk)
    return up
