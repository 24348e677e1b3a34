"""Tables and fitted models for the tests, made from a seed."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from driftloop_models import Encoder, FeatureType, Linear, TableModel, Task, columns_of

FEATURES: dict[str, FeatureType] = {
    "wind": "number",
    "origin": "category",
    "gust": "number",
    "storm": "boolean",
    "carrier": "category",
}
ORIGINS = ["EWR", "JFK", "LGA"]
CARRIERS = ["9E", "AA", "B6", "UA"]
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


def a_table(rows: int = 400, seed: int = 1) -> pa.Table:
    """Rows with nulls in every feature and a target that depends on them."""
    rng = np.random.default_rng(seed)
    wind, gust, storm = rng.normal(12, 4, rows), rng.normal(20, 5, rows), rng.random(rows) < 0.2
    origin, carrier = rng.choice(ORIGINS, rows), rng.choice(CARRIERS, rows)
    delay = wind + 5 * storm + (origin == "LGA") + rng.normal(0, 2, rows)

    def with_nulls(values: Any) -> pa.Array:
        return pa.array(values, mask=rng.random(rows) < 0.1)

    return pa.table(
        {
            "wind": with_nulls(wind),
            "origin": with_nulls(origin.astype(object)),
            "gust": with_nulls(gust),
            "storm": with_nulls(storm),
            "carrier": with_nulls(carrier.astype(object)),
            "delay": delay,
            "late": (delay > 13).astype(int),
            "kind": np.array(["early", "late", "lost"])[np.digitize(delay, [10, 15])].astype(object),
        }
    )


def a_model(task: Task = "binary", *, boosted: bool = False, rows: int = 400, seed: int = 1) -> TableModel:
    """A fitted model of either kind."""
    table = a_table(rows, seed)
    encoder = Encoder.fit(table, FEATURES, "ordinal" if boosted else "one_hot")
    matrix = encoder.matrix(columns_of(table, FEATURES))
    target = np.array(table[{"binary": "late", "multiclass": "kind", "regression": "delay"}[task]].to_pylist())
    if task == "regression":
        regressor = HistGradientBoostingRegressor(max_iter=20, random_state=3) if boosted else LinearRegression()
        fitted = regressor.fit(matrix, target)
        return TableModel(encoder, fitted if boosted else Linear.of(fitted), task)
    classifier = (
        HistGradientBoostingClassifier(max_iter=20, random_state=3) if boosted else LogisticRegression(max_iter=500)
    )
    fitted = classifier.fit(matrix, target)
    return TableModel(encoder, fitted if boosted else Linear.of(fitted), task, tuple(fitted.classes_.tolist()))


def the_columns(rows: int = 50, seed: int = 2) -> dict[str, Any]:
    """Feature columns as a request brings them: plain lists with None."""
    table = a_table(rows, seed)
    return {name: table[name].to_pylist() for name in FEATURES}


Models = Callable[..., TableModel]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny fits on a busy machine spend their time waiting for each other's threads."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture
def features() -> dict[str, FeatureType]:
    return dict(FEATURES)


@pytest.fixture
def table() -> pa.Table:
    return a_table()


@pytest.fixture
def columns() -> dict[str, Any]:
    return the_columns()


@pytest.fixture(name="a_model")
def a_model_fixture() -> Models:
    return a_model
