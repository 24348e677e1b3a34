"""A few rows with the answers they had when the model was trained: the same must come out wherever it is loaded."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from driftloop_models.refusal import ModelRefused
from driftloop_models.rows import Columns
from driftloop_models.table_model import TableModel

# Another library build may differ in the last bits; another model differs in the first.
TOLERANCE: Final = 1e-9


def golden(model: TableModel, columns: Columns, rows: int = 5) -> list[dict[str, Any]]:
    """The first rows of the columns, JSON-able, each with `features` (missing as None) and its `score`."""
    few = {name: [_plain(value) for value in list(columns[name][:rows])] for name in model.features if name in columns}
    scores = model.score(few).tolist()
    return [
        {"features": {name: column[at] for name, column in few.items()}, "score": score}
        for at, score in enumerate(scores)
    ]


def check_golden(model: TableModel, rows: Iterable[Mapping[str, Any]]) -> None:
    """Nothing, where the model still answers as it did. Raises ModelRefused with the row and both answers."""
    for at, row in enumerate(rows):
        features = {name: [value] for name, value in row["features"].items()}
        given, expected = model.score(features)[0], row["score"]
        if not np.allclose(given, expected, rtol=0.0, atol=TOLERANCE):
            raise ModelRefused(f"golden row {at}: the loaded model says {given}, the trained one said {expected}")


def _plain(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return None if plain != plain else plain
