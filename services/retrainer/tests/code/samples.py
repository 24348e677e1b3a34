"""Train functions as users write them: good ones, and each way to go wrong."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from driftloop_models import Encoder, Linear, TableModel, columns_of
from driftloop_models.rows import FeatureType

FEATURES: dict[str, FeatureType] = {"wind": "number", "site": "category", "holiday": "boolean"}
Params = Mapping[str, Any]


def linear(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """A logistic regression by scikit-learn; of several classes where there are several."""
    from sklearn.linear_model import LogisticRegression

    encoder = Encoder.fit(rows, FEATURES, "one_hot")
    truth = np.array(rows[target].to_pylist())
    fitted = LogisticRegression(C=params.get("c", 1.0), random_state=seed).fit(matrix(encoder, rows), truth)
    classes = tuple(fitted.classes_.tolist())
    return TableModel(encoder, Linear.of(fitted), "binary" if len(classes) == 2 else "multiclass", classes)


def ridge(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    from sklearn.linear_model import Ridge

    encoder = Encoder.fit(rows, FEATURES, "one_hot")
    fitted = Ridge().fit(matrix(encoder, rows), rows[target].to_numpy())
    return TableModel(encoder, Linear.of(fitted), "regression")


def boosted(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    from sklearn.ensemble import HistGradientBoostingClassifier

    encoder = Encoder.fit(rows, FEATURES, "ordinal")
    fitted = HistGradientBoostingClassifier(max_iter=5, early_stopping=False, random_state=seed)
    return TableModel(encoder, fitted.fit(matrix(encoder, rows), rows[target].to_numpy()), "binary", (0, 1))


def plain(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """The rate and nothing else: the cheapest model there is."""
    encoder = Encoder.fit(rows, FEATURES, "one_hot")
    rate = float(rows[target].to_numpy().mean())
    return TableModel(encoder, Linear(np.zeros((1, encoder.width)), np.log([rate / (1 - rate)])), "binary", (0, 1))


def sees_more_than_features(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    raise AssertionError(f"the columns are {rows.column_names}, the params {params}, the seed {seed}")


def matrix(encoder: Encoder, rows: pa.Table) -> Any:
    return encoder.matrix(columns_of(rows, FEATURES))


def raises(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    raise LookupError("the price list of\n2013 is missing")


def hangs(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """It leaves its pid and its child's where the test finds them."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(params["pids"]).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
    return plain(rows, target, params, seed)


def waits(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """Until it is told to go on."""
    Path(params["began"]).touch()
    while not Path(params["go_on"]).exists():
        time.sleep(0.02)
    return linear(rows, target, params, seed)


def hangs_at_first(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """Hangs in the first process that calls it, which leaves its pid."""
    pids = Path(params["pids"])
    if not pids.exists():
        pids.write_text(str(os.getpid()))
        time.sleep(600)
    return plain(rows, target, params, seed)


def eats_memory(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    eaten = [np.ones(32 * 1024 * 1024 // 8) for _ in range(200)]
    return plain(rows, target, {"eaten": eaten}, seed)


def eats_memory_below_python(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """As a C++ library does that does not catch std::bad_alloc."""
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def nothing(rows: pa.Table, target: str, params: Params, seed: int) -> None:
    return None


def unfitted(rows: pa.Table, target: str, params: Params, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier()


def text(rows: pa.Table, target: str, params: Params, seed: int) -> str:
    return "a model"


def not_a_number(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    """Weights so large that they cancel to NaN in some rows only."""
    encoder = Encoder.fit(rows, FEATURES, "one_hot")
    weights = np.where(np.arange(encoder.width) % 2, 1e308, -1e308)[None, :]
    return TableModel(encoder, Linear(weights * 1.7, np.zeros(1)), "binary", (0, 1))


def other_features(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    encoder = Encoder.fit(rows, {"wind": "number"}, "one_hot")
    return TableModel(encoder, Linear(np.zeros((1, encoder.width)), np.zeros(1)), "binary", (0, 1))


def other_task(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    encoder = Encoder.fit(rows, FEATURES, "one_hot")
    return TableModel(encoder, Linear(np.zeros((1, encoder.width)), np.zeros(1)), "regression")


def leaves(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    sys.exit(0)


def leaves_hard(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    os._exit(0)


def leaves_with_a_code(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    print("the licence server said no", flush=True)
    os._exit(3)


def kills_itself(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    os.kill(os.getpid(), signal.SIGKILL)
    return plain(rows, target, params, seed)


def touches_what_is_not_its_own(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    ctypes.string_at(0)
    return plain(rows, target, params, seed)


def forges_a_result(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    Path("result.json").write_text('{"rows": -1}')
    Path("artifact").write_bytes(b"not a model")
    os._exit(0)


def tells_its_environment(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    raise RuntimeError(" ".join(sorted(os.environ)))


def tells_its_folder(rows: pa.Table, target: str, params: Params, seed: int) -> TableModel:
    raise RuntimeError(os.getcwd())


NUMBER = 7
