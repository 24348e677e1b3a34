"""The shared model format: the retrainer writes it, serving loads it, both score with it.

A model is an `Encoder` (names and values to a float matrix, pure numpy) and an estimator on that matrix. It travels as
a zip of JSON and, for boosted trees, a skops file under a closed list of types: loading one runs no code of its author.
"""

from driftloop_models.archive import digest_of, load, save
from driftloop_models.encoder import Encoder, Style
from driftloop_models.golden import check_golden, golden
from driftloop_models.linear import Linear
from driftloop_models.losses import LOSSES, brier, log_loss, losses, squared
from driftloop_models.refusal import ModelRefused, RowsRefused
from driftloop_models.rows import Columns, FeatureType, columns_of
from driftloop_models.table_model import TableModel, Task
from driftloop_models.wrap import wrap

__all__ = [
    "LOSSES",
    "Columns",
    "Encoder",
    "FeatureType",
    "Linear",
    "ModelRefused",
    "RowsRefused",
    "Style",
    "TableModel",
    "Task",
    "brier",
    "check_golden",
    "columns_of",
    "digest_of",
    "golden",
    "load",
    "log_loss",
    "losses",
    "save",
    "squared",
    "wrap",
]
