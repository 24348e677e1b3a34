"""Histogram gradient boosting of scikit-learn as a skops file that holds nothing else.

skops asks which types a file may bring; its own default trusts every estimator of scikit-learn. Here the list is
closed to what such a model consists of, and the tree nodes are checked as well: scikit-learn follows their indices
without looking, so a crafted file would crash the process that predicts.

skops and scikit-learn are imported by the functions that need them: together they cost a process more than it takes to
start, and one that serves linear models needs neither.
"""

import io
import json
import zipfile
from typing import Any, Final

import numpy as np

from driftloop_models.refusal import ModelRefused
from driftloop_models.zips import json_bytes, json_of, members, pack

_BOOSTING: Final = "sklearn.ensemble._hist_gradient_boosting"
_MODULE: Final = f"{_BOOSTING}.gradient_boosting"
CLASSIFIER: Final = "HistGradientBoostingClassifier"
REGRESSOR: Final = "HistGradientBoostingRegressor"
BOOSTED: Final = (CLASSIFIER, REGRESSOR)

_TREE: Final = f"{_BOOSTING}.predictor.TreePredictor"

# Reviewed with scikit-learn 1.9 and skops 0.16: plain containers, arrays, the two estimators and the parts they keep
# after a fit. No partial, no function, no method, no generic object.
ALLOWED_NODES: Final = frozenset(
    {
        ("DictNode", "builtins.dict"),
        ("JsonNode", "builtins.str"),
        ("ListNode", "builtins.list"),
        ("LossNode", "sklearn._loss._loss.CyHalfBinomialLoss"),
        ("LossNode", "sklearn._loss._loss.CyHalfMultinomialLoss"),
        ("LossNode", "sklearn._loss._loss.CyHalfSquaredError"),
        ("NdArrayNode", "numpy.ndarray"),
        ("NdArrayNode", "numpy.float64"),
        ("NdArrayNode", "numpy.int64"),
        ("NdArrayNode", "numpy.uint64"),
        ("ObjectNode", "sklearn._loss.link.IdentityLink"),
        ("ObjectNode", "sklearn._loss.link.Interval"),
        ("ObjectNode", "sklearn._loss.link.LogitLink"),
        ("ObjectNode", "sklearn._loss.link.MultinomialLogit"),
        ("ObjectNode", "sklearn._loss.loss.HalfBinomialLoss"),
        ("ObjectNode", "sklearn._loss.loss.HalfMultinomialLoss"),
        ("ObjectNode", "sklearn._loss.loss.HalfSquaredError"),
        ("ObjectNode", f"{_BOOSTING}.binning._BinMapper"),
        ("ObjectNode", f"{_MODULE}.{CLASSIFIER}"),
        ("ObjectNode", f"{_MODULE}.{REGRESSOR}"),
        ("ObjectNode", _TREE),
        ("ObjectNode", "sklearn.preprocessing._label.LabelEncoder"),
        ("RandomGeneratorNode", "numpy.random._generator.Generator"),
        ("TupleNode", "builtins.tuple"),
        ("TypeNode", "builtins.str"),
    }
)


# What skops, numpy and scikit-learn raise on a file whose parts do not fit together.
BROKEN: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)

# Before equal arrays are merged a fit of 1,000 trees has some 3,000; only our own process's output is read with it.
MAX_ARRAYS_OF_A_FIT: Final = 100_000


def boosted_kind(estimator: Any) -> str | None:
    """CLASSIFIER or REGRESSOR for exactly these classes of scikit-learn, None for anything else."""
    kind = type(estimator)
    return kind.__name__ if kind.__module__ == _MODULE and kind.__name__ in BOOSTED else None


def dump_boosted(estimator: Any) -> bytes:
    """A skops file of the fitted estimator: the same model gives the same bytes.

    skops names arrays and objects by their memory address. Here arrays are named in order of appearance, equal ones
    stored once, and the addresses left out: skops only shares objects by them, which predicting does not need.
    Raises ModelRefused for a model that `load_boosted` would refuse.
    """
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    try:
        raw = members(skops.io.dumps(estimator), MAX_ARRAYS_OF_A_FIT)
    except UnsupportedTypeException as reason:
        raise ModelRefused(f"estimator.skops: {reason}") from reason
    schema = json.loads(raw["schema.json"])
    arrays: dict[bytes, str] = {}
    _settle(schema, raw, arrays)
    _check_nodes(schema)
    _check_trees(estimator)
    return pack({"schema.json": json_bytes(schema)} | {name: data for data, name in arrays.items()})


def load_boosted(data: bytes) -> Any:
    """The estimator in these bytes. Raises ModelRefused for any other type inside, and for trees that lead nowhere."""
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

    inside = members(data)
    _check_nodes(json_of(inside, "schema.json"))
    for name, content in inside.items():
        if name != "schema.json":
            _check_array(name, content)
    try:
        estimator = skops.io.loads(data, trusted=[_TREE])
        _check_trees(estimator)
    except ModelRefused:
        raise
    except (UntrustedTypesFoundException, UnsupportedTypeException) as reason:
        raise ModelRefused(f"estimator.skops: {reason}") from reason
    except BROKEN as reason:
        raise ModelRefused(f"estimator.skops: {type(reason).__name__}: {reason}") from reason
    return estimator


def _settle(node: Any, raw: dict[str, bytes], arrays: dict[bytes, str]) -> None:
    """Leave out memory addresses and name arrays by order of appearance, in place."""
    if isinstance(node, list):
        for part in node:
            _settle(part, raw, arrays)
    elif isinstance(node, dict):
        node.pop("__id__", None)
        if node.get("__loader__") == "NdArrayNode" and node.get("type") == "numpy":
            content = raw[node["file"]]
            node["file"] = arrays.setdefault(content, f"{len(arrays):04d}.npy")
        # In the order in which canonical JSON writes them: a loaded model's attributes come in another one.
        for key in sorted(node):
            _settle(node[key], raw, arrays)


def _check_nodes(node: Any) -> None:
    if isinstance(node, list):
        for part in node:
            _check_nodes(part)
    elif isinstance(node, dict):
        if "__loader__" in node:
            kind = (node["__loader__"], f"{node.get('__module__')}.{node.get('__class__')}")
            if kind not in ALLOWED_NODES:
                raise ModelRefused(
                    f"estimator.skops holds {kind[1]} ({kind[0]}); allowed: histogram gradient boosting "
                    "on a float matrix (ordinal codes, no categorical_features), and what it consists of"
                )
        for part in node.values():
            _check_nodes(part)


def _check_array(name: str, content: bytes) -> None:
    """A header must not promise more than the file holds: numpy would reserve the memory first."""
    source = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(source)
        read_header = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            raise ValueError(f"npy version {version}")
        shape, _, dtype = read_header(source)
    except (ValueError, SyntaxError, EOFError) as reason:
        raise ModelRefused(f"estimator.skops: {name} is no plain array: {reason}") from reason
    promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if dtype.hasobject or promised != len(content) - source.tell():
        raise ModelRefused(f"estimator.skops: {name} promises {promised} bytes of {dtype}, or holds objects")


def _check_trees(estimator: Any) -> None:
    if boosted_kind(estimator) is None:
        raise ModelRefused(f"estimator.skops holds {type(estimator).__name__}; allowed: {', '.join(BOOSTED)}")
    if not hasattr(estimator, "_predictors"):
        raise ModelRefused(f"{type(estimator).__name__} is not fitted")
    if estimator.is_categorical_ is not None or estimator._preprocessor is not None:
        raise ModelRefused("boosted trees on categorical_features; give them ordinal codes as plain numbers")
    for iteration in estimator._predictors:
        if len(iteration) != estimator.n_trees_per_iteration_:
            raise ModelRefused("estimator.skops: an iteration lacks trees")
        for tree in iteration:
            _check_tree(tree.nodes, int(estimator.n_features_in_))


def _check_tree(nodes: Any, n_features: int) -> None:
    """Children come after their parent, so a walk ends; features exist; nothing reads the category bit sets."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    if not isinstance(nodes, np.ndarray) or nodes.dtype != PREDICTOR_RECORD_DTYPE or nodes.ndim != 1 or not len(nodes):
        raise ModelRefused("estimator.skops: a tree has no nodes of scikit-learn's record type")
    inner = nodes[nodes["is_leaf"] == 0]
    parents = np.flatnonzero(nodes["is_leaf"] == 0)
    for side in ("left", "right"):
        child = inner[side].astype(np.int64)
        if ((child <= parents) | (child >= len(nodes))).any():
            raise ModelRefused(f"estimator.skops: a tree's {side} child lies outside the tree")
    feature = inner["feature_idx"].astype(np.int64)
    if ((feature < 0) | (feature >= n_features)).any() or nodes["is_categorical"].any():
        raise ModelRefused("estimator.skops: a tree splits on a feature that the model does not have")
    if not np.isfinite(nodes["value"]).all():
        raise ModelRefused("estimator.skops: a leaf's value is not finite")
