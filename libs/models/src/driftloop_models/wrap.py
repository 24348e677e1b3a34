"""What a user's train function returned, as a model, or the reason why it is none."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from driftloop_models.boosted import BOOSTED, boosted_kind
from driftloop_models.encoder import Encoder
from driftloop_models.fields import NumberField, Value
from driftloop_models.linear import Linear
from driftloop_models.refusal import ModelRefused
from driftloop_models.rows import Columns, FeatureType, Floats
from driftloop_models.table_model import TableModel, Task

LINEAR: Final = ("LogisticRegression", "LinearRegression", "Ridge", "Lasso", "ElasticNet")

# Probabilities of a row may miss 1 by rounding, not by more.
SUM_TOLERANCE: Final = 1e-6


def wrap(
    returned: Any,
    features: Mapping[str, FeatureType],
    *,
    task: Task,
    classes: Sequence[Value] = (),
    encoder: Encoder | None = None,
    sample: Columns | None = None,
) -> TableModel:
    """The model in what a train function returned: a TableModel, or a fitted estimator of scikit-learn.

    features: as declared. classes: the values the target can take, () for regression. encoder: what made the matrix
    that a bare estimator was fitted on; without one every feature must be a number and the matrix is their columns in
    declared order. sample: rows to predict as a trial; a value that is not finite or no probability is refused.
    Raises ModelRefused with the reason.
    """
    model = returned if isinstance(returned, TableModel) else _built(returned, features, task, encoder)
    _check_declared(model, features, task, tuple(classes))
    if sample is not None:
        check_scores(model, model.score(sample))
    return model


def check_scores(model: TableModel, score: Floats) -> None:
    """Raises ModelRefused where a score is not finite, or a probability outside [0, 1] or not adding up to 1."""
    strange = int((~np.isfinite(score)).sum())
    if strange:
        raise ModelRefused(f"{strange} of {score.size} predictions are not finite")
    if model.task != "regression" and ((score < 0) | (score > 1)).any():
        raise ModelRefused(f"probabilities between {score.min()} and {score.max()}; allowed: 0 to 1")
    if model.task == "multiclass" and (np.abs(score.sum(axis=1) - 1.0) > SUM_TOLERANCE).any():
        raise ModelRefused("the probabilities of a row do not add up to 1")


def _built(returned: Any, features: Mapping[str, FeatureType], task: Task, encoder: Encoder | None) -> TableModel:
    if returned is None:
        raise ModelRefused("the train function returned None; expected a TableModel or a fitted estimator")
    kind, linear = type(returned).__name__, _is_linear(returned)
    if not linear and not boosted_kind(returned):
        allowed = ", ".join(["TableModel", *LINEAR, *BOOSTED])
        raise ModelRefused(f"the train function returned {kind}; allowed: {allowed}")
    if not hasattr(returned, "coef_" if linear else "_predictors"):
        raise ModelRefused(f"the train function returned a {kind} that is not fitted")
    classes = tuple(returned.classes_.tolist()) if hasattr(returned, "classes_") else ()
    used = encoder or _columns_as_they_are(features, linear)
    return TableModel(used, Linear.of(returned) if linear else returned, task, classes)


def _is_linear(estimator: Any) -> bool:
    return type(estimator).__module__.startswith("sklearn.linear_model.") and type(estimator).__name__ in LINEAR


def _columns_as_they_are(features: Mapping[str, FeatureType], linear: bool) -> Encoder:
    categories = [name for name, kind in features.items() if kind == "category"]
    if categories:
        raise ModelRefused(
            f"a bare estimator cannot read the categories {', '.join(categories)}: "
            "return a TableModel with the Encoder that made its matrix"
        )
    fields = tuple(
        NumberField(name, "boolean" if kind == "boolean" else "number", fill=0.0, center=0.0, scale=1.0, flagged=False)
        for name, kind in features.items()
    )
    return Encoder("one_hot" if linear else "ordinal", fields)


def _check_declared(
    model: TableModel, features: Mapping[str, FeatureType], task: Task, classes: tuple[Value, ...]
) -> None:
    if dict(model.features) != dict(features):
        differ = sorted(set(model.features.items()) ^ set(features.items()))
        raise ModelRefused(f"the model's features are not the declared ones: {differ}")
    if model.task != task:
        raise ModelRefused(f"the model is a {model.task} model, the declaration says {task}")
    if classes and model.classes != classes:
        raise ModelRefused(f"the model's classes are {list(model.classes)}, the target's {list(classes)}")
