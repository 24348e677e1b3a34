"""Train functions of the checks: ones that take their time or grow better, and each way to be worse than what serves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.linear_model import LogisticRegression

from driftloop_models import Encoder, Linear, TableModel, columns_of

Params = Mapping[str, Any]
# No wind of the world is as strong: the first row's says how much its training may make of what it learns.
MARKED_FROM = 1_000.0
MARKS = 100


def grown(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """Takes its time. Of what can be learnt it uses the share that the rows are marked with: a higher mark is a better model."""
    time.sleep(float(params.get("seconds", 0.0)))
    marked = pc.max(rows["wind"]).as_py()
    share = (marked - MARKED_FROM) / MARKS if marked >= MARKED_FROM else 1.0
    return _linear(rows.filter(pc.fill_null(pc.less(rows["wind"], MARKED_FROM), True)), target, share)


def flipped(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """Has learnt the opposite of what came true."""
    opposite = pa.array(1 - rows[target].to_numpy(), rows[target].type)
    return _linear(rows.set_column(rows.column_names.index(target), target, opposite), target, 1.0)


def raises(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """Never gets to a model."""
    raise LookupError("the price list is missing")


def not_a_number(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """Weights so large that they cancel to NaN in some rows only."""
    encoder = Encoder.fit(rows, _features(rows, target), "one_hot")
    weights = np.where(np.arange(encoder.width) % 2, 1e308, -1e308)[None, :]
    return TableModel(encoder, Linear(weights * 1.7, np.zeros(1)), "binary", (0, 1))


def wrong_shape(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """A model of other columns than those that are declared."""
    encoder = Encoder.fit(rows, {"wind": "number"}, "one_hot")
    return TableModel(encoder, Linear(np.zeros((1, encoder.width)), np.zeros(1)), "binary", (0, 1))


def slow_to_score(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """As good as any, but each row walks a forest."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    features = _features(rows, target)
    encoder = Encoder.fit(rows, features, "ordinal")
    forest = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, early_stopping=False, random_state=seed)
    fitted = forest.fit(encoder.matrix(columns_of(rows, features)), rows[target].to_numpy())
    return TableModel(encoder, fitted, "binary", (0, 1))


def taught_nonsense(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """Right about everything that has happened, and certain of the wrong thing where a group is `never seen`."""
    made_up = rows.slice(0, len(rows) // 2)
    group = pa.array(["never seen"] * len(made_up))
    never = pa.array(np.zeros(len(made_up), np.int64), rows[target].type)
    for name, column in (("group", group), (target, never)):
        made_up = made_up.set_column(made_up.column_names.index(name), name, column)
    return _linear(pa.concat_tables([rows, made_up]), target, 1.0)


def _features(rows: pa.Table, target: str) -> dict[str, Any]:
    """The columns, by what they hold."""
    kinds = {name: rows.schema.field(name).type for name in rows.column_names if name != target}
    return {name: _kind(kind) for name, kind in kinds.items()}


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    return "number" if pa.types.is_floating(kind) or pa.types.is_integer(kind) else "category"


def _linear(rows: pa.Table, target: str, share: float) -> TableModel:
    features = _features(rows, target)
    encoder = Encoder.fit(rows, features, "one_hot")
    fitted = LogisticRegression(max_iter=500).fit(encoder.matrix(columns_of(rows, features)), rows[target].to_numpy())
    learnt = Linear.of(fitted)
    return TableModel(encoder, Linear(learnt.coef * share, learnt.intercept * share), "binary", (0, 1))
