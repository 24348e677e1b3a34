"""A model on a table: an encoder and an estimator that belong together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from driftloop_models.boosted import BOOSTED, REGRESSOR, boosted_kind
from driftloop_models.encoder import Encoder
from driftloop_models.fields import Value
from driftloop_models.linear import Linear
from driftloop_models.refusal import ModelRefused
from driftloop_models.rows import Columns, FeatureType, Floats

Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class TableModel:
    """Predicts from columns of named features. classes: what each probability column means; () for regression."""

    encoder: Encoder
    estimator: Linear | Any
    task: Task
    classes: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        _check_classes(self.task, self.classes)
        if isinstance(self.estimator, Linear):
            _check_linear(self.estimator, self.encoder, self.task, self.classes)
        elif boosted_kind(self.estimator):
            _check_boosted(self.estimator, self.encoder, self.task, self.classes)
        else:
            raise ModelRefused(f"estimator {type(self.estimator).__name__}; allowed: Linear, {', '.join(BOOSTED)}")

    @property
    def features(self) -> Mapping[str, FeatureType]:
        """Name to type, in order."""
        return self.encoder.features

    def predict_proba(self, columns: Columns) -> Floats:
        """Shape (n, classes), in the order of `classes`. Raises ModelRefused for a regression."""
        if self.task == "regression":
            raise ModelRefused("a regression has no probabilities; ask `score` or `predict`")
        if isinstance(self.estimator, Linear):
            return self.estimator.probabilities(self.encoder, columns)
        return np.asarray(self.estimator.predict_proba(self.encoder.matrix(columns)), dtype=np.float64)

    def score(self, columns: Columns) -> Floats:
        """What a loss is computed from: P(classes[1]) of shape (n,); class probabilities (n, classes); values (n,)."""
        if self.task == "binary":
            return self.predict_proba(columns)[:, 1]
        if self.task == "multiclass":
            return self.predict_proba(columns)
        if isinstance(self.estimator, Linear):
            return self.estimator.decide(self.encoder, columns)[:, 0]
        return np.asarray(self.estimator.predict(self.encoder.matrix(columns)), dtype=np.float64)

    def predict(self, columns: Columns) -> npt.NDArray[Any]:
        """The most probable class of each row, or the value. Shape (n,)."""
        return self.decide(self.score(columns))

    def decide(self, score: Floats) -> npt.NDArray[Any]:
        """The prediction that follows from a score, without scoring twice."""
        if self.task == "regression":
            return score
        places = score.argmax(axis=1) if self.task == "multiclass" else (score > 0.5).astype(np.intp)
        chosen: npt.NDArray[Any] = np.array(self.classes)[places]
        return chosen

    def places(self, outcomes: npt.ArrayLike) -> Floats:
        """Outcomes as the losses want them: the position of each in `classes`, or the value itself.

        Raises ModelRefused for an outcome that is no class.
        """
        came_true = np.asarray(outcomes)
        if self.task == "regression":
            return came_true.astype(np.float64)
        position = {value: float(at) for at, value in enumerate(self.classes)}
        strange = set(came_true.tolist()) - set(position)
        if strange:
            raise ModelRefused(f"outcomes {sorted(map(str, strange))[:5]} are no classes; allowed: {self.classes}")
        return np.array([position[value] for value in came_true.tolist()])


def _check_classes(task: Task, classes: tuple[Value, ...]) -> None:
    if task not in ("binary", "multiclass", "regression"):
        raise ModelRefused(f"task {task!r}; allowed: binary, multiclass, regression")
    fits = {"binary": len(classes) == 2, "multiclass": len(classes) >= 2, "regression": not classes}
    if not fits[task] or len(set(classes)) != len(classes):
        raise ModelRefused(f"classes {classes} do not fit task {task}")


def _check_linear(linear: Linear, encoder: Encoder, task: Task, classes: tuple[Value, ...]) -> None:
    if encoder.style != "one_hot":
        raise ModelRefused("a linear model needs a one_hot encoder: ordinal codes leave missing as NaN")
    if linear.width != encoder.width:
        raise ModelRefused(f"the estimator has {linear.width} columns, the encoder makes {encoder.width}")
    outputs = len(classes) if task == "multiclass" else 1
    if len(linear.coef) != outputs:
        raise ModelRefused(f"the estimator has {len(linear.coef)} outputs; {task} needs {outputs}")


def _check_boosted(estimator: Any, encoder: Encoder, task: Task, classes: tuple[Value, ...]) -> None:
    if (boosted_kind(estimator) == REGRESSOR) != (task == "regression"):
        raise ModelRefused(f"{type(estimator).__name__} does not fit task {task}")
    if getattr(estimator, "n_features_in_", None) != encoder.width:
        given = getattr(estimator, "n_features_in_", "none, it is not fitted")
        raise ModelRefused(f"the estimator's columns: {given}; the encoder makes {encoder.width}")
    if task != "regression" and tuple(estimator.classes_.tolist()) != classes:
        raise ModelRefused(f"the estimator's classes are {estimator.classes_.tolist()}, the model's {list(classes)}")
