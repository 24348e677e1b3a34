"""The distribution of each feature in the training rows: what the monitor's structural checks compare with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from driftloop_detect.errors import NotReady
from driftloop_detect.structural import Reference
from driftloop_models import columns_of
from retrainer.domain import Training


def reference_json(rows: pa.Table, training: Training) -> str | None:
    """The reference of all rows, in the order in which they were asked about; None where there are too few for one.

    The version then serves without structural checks: they would compare with chance.
    """
    ordered = rows.sort_by([("time", "ascending"), ("prediction_id", "ascending")])
    features: Any = training.features
    columns = {name: _array(column) for name, column in columns_of(ordered, features).items()}
    try:
        found = Reference.of(columns, columns[training.segment] if training.segment else None)
    except NotReady:
        return None
    return json.dumps(found.to_json(), sort_keys=True, allow_nan=False)


def _array(column: Any) -> np.ndarray[Any, Any]:
    return column if isinstance(column, np.ndarray) else np.array(column, dtype=object)
