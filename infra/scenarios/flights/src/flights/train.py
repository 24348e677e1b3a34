"""The user's part: how a model of late flights is fitted. Nothing here knows Kafka, versions or gates."""

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from driftloop_models import Encoder, Linear, ModelRefused, TableModel, columns_of
from flights.features import FEATURES

CLASSES: Final = (0, 1)

# Solved only as far as the loss moves: ten times more exact changes no digit of it that anybody prints, and costs
# three times as long.
LINEAR: Final[Mapping[str, Any]] = {"C": 1.0, "max_iter": 200, "tol": 3e-4}

# Shrunk trees with full leaves, all of them grown: with early stopping a random tenth of the rows decides when to stop,
# and a model differs by seed more than by what a week of summer taught it. Of the settings tried these move the
# alarm least when the champion knows a few hours more or less.
BOOSTED: Final[Mapping[str, Any]] = {
    "learning_rate": 0.06,
    "max_iter": 100,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 100,
    "l2_regularization": 0.0,
}
KINDS: Final = {"linear": LINEAR, "boosted": BOOSTED}


def train(rows: pa.Table, target: str, params: Mapping[str, Any], seed: int) -> TableModel:
    """A model of `target` (1: late) on the 26 features in these rows.

    params: `kind` (linear, the default, or boosted) and what differs from that kind's settings above. The same rows,
    params and seed give the same model. Raises ModelRefused for an unknown kind or setting.
    """
    kind = params.get("kind", "linear")
    if kind not in KINDS:
        raise ModelRefused(f"params.kind {kind!r}; allowed: {', '.join(KINDS)}")
    unknown = sorted(set(params) - {"kind"} - set(KINDS[kind]))
    if unknown:
        raise ModelRefused(f"params {unknown} of kind {kind}; allowed: {', '.join(KINDS[kind])}")
    settings = {**KINDS[kind], **{name: value for name, value in params.items() if name != "kind"}}
    late = rows[target].cast(pa.int8()).to_numpy()
    return (_linear if kind == "linear" else _boosted)(rows, late, settings, seed)


def _linear(rows: pa.Table, late: Any, settings: Mapping[str, Any], seed: int) -> TableModel:
    encoder = Encoder.fit(rows, FEATURES, "one_hot")
    fitted = LogisticRegression(**settings, random_state=seed).fit(encoder.sparse(columns_of(rows, FEATURES)), late)
    return TableModel(encoder, Linear.of(fitted), "binary", CLASSES)


def _boosted(rows: pa.Table, late: Any, settings: Mapping[str, Any], seed: int) -> TableModel:
    encoder = Encoder.fit(rows, FEATURES, "ordinal")
    estimator = HistGradientBoostingClassifier(**settings, early_stopping=False, random_state=seed)
    return TableModel(encoder, estimator.fit(encoder.matrix(columns_of(rows, FEATURES)), late), "binary", CLASSES)
