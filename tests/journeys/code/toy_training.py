"""Training functions of the journeys' models: one that learns, and each way in which one can go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from driftloop_models import Encoder, Linear, TableModel, columns_of

# Three days: a model of this world forgets, or a week of the new one would drown in what went before.
NEWEST_ROWS = 600
FEATURES: Mapping[str, Any] = {"x": "number", "group": "category", "wind": "number"}


def train(rows: pa.Table, target: str, params: Mapping[str, Any], seed: int) -> TableModel:
    """A linear model of the target in the newest rows."""
    rows = rows.slice(max(0, len(rows) - int(params.get("newest_rows", NEWEST_ROWS))))
    encoder = Encoder.fit(rows, FEATURES, "one_hot")
    truth = rows[target].to_numpy()
    fitted = LogisticRegression(max_iter=200).fit(encoder.matrix(columns_of(rows, FEATURES)), truth)
    return TableModel(encoder, Linear.of(fitted), "binary", (0, 1))


def train_worse(rows: pa.Table, target: str, params: Mapping[str, Any], seed: int) -> TableModel:
    """A model that believes the opposite of what it saw."""
    flipped = pa.array(1 - rows[target].to_numpy(), rows[target].type)
    return train(rows.set_column(rows.column_names.index(target), target, flipped), target, params, seed)


def train_never(rows: pa.Table, target: str, params: Mapping[str, Any], seed: int) -> TableModel:
    """Raises."""
    raise RuntimeError("the label column is upside down")
