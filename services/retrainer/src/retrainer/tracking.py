"""A training's run in MLflow, by the stock client: for people. Nothing of the loop waits for it.

Tracking that is away costs one connection attempt, and MLflow is not even imported; the training goes on without a run.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S: Final = 1.0
# MLflow's own limit for the value of a parameter.
MAX_PARAM_CHARS: Final = 6_000
# An ensemble fits many estimators; what people compare are the few kinds.
MAX_ESTIMATORS: Final = 5
Autolog = Literal["params", "all", "off"]


@dataclass(slots=True)
class Run:
    """What is logged, and under which id. Without an id tracking was away, and nothing is logged."""

    run_id: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


def warm() -> None:
    """MLflow is imported, if there is anybody to log to."""
    if _reachable(os.environ.get("MLFLOW_TRACKING_URI", "")):
        import mlflow  # noqa: F401  # for its effect


@contextmanager
def run(model: str, request_id: str, autolog: Autolog) -> Iterator[Run]:
    """A run around a training.

    autolog: `all` is MLflow's own autologging of scikit-learn, without models. It scores every estimator on all of its
    training rows, which costs as much as the fits; `params` keeps what the estimators were made with, for nothing.
    """
    if not _reachable(os.environ.get("MLFLOW_TRACKING_URI", "")):
        yield Run()
        return
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        mlflow.set_experiment(model)
        started = mlflow.start_run(run_name=f"retrain {request_id[:8]}", tags={"driftloop.request_id": request_id})
    except MlflowException as away:
        sys.stderr.write(f"training without a run: {away}\n")
        yield Run()
        return
    tracked = Run(started.info.run_id)
    estimators = _watched(mlflow, autolog)
    try:
        yield tracked
    except BaseException:
        _end(mlflow, MlflowException, tracked, estimators(), "FAILED")
        raise
    _end(mlflow, MlflowException, tracked, estimators(), "FINISHED")


def _watched(mlflow: Any, autolog: Autolog) -> Callable[[], dict[str, Any]]:
    """The parameters of what is fitted from now on, once asked."""
    if autolog == "params":
        return fitted_params()
    if autolog == "all":
        import mlflow.sklearn as flavor

        flavor.autolog(log_models=False, log_datasets=False, log_post_training_metrics=False, silent=True)
    return dict


def fitted_params() -> Callable[[], dict[str, Any]]:
    """Parameters of the estimators that scikit-learn fits from now on, under their names as MLflow's autologging has them.

    Where several kinds are fitted, under `<Kind>.<name>`.
    """
    from sklearn.base import BaseEstimator

    seen: dict[str, dict[str, Any]] = {}
    # Every fit of scikit-learn begins with it, whenever the estimator's class was imported.
    check = BaseEstimator._validate_params

    def noted(estimator: Any) -> None:
        if len(seen) < MAX_ESTIMATORS:
            seen.setdefault(type(estimator).__name__, estimator.get_params(deep=False))
        check(estimator)

    BaseEstimator._validate_params = noted

    def params() -> dict[str, Any]:
        if len(seen) == 1:
            return dict(*seen.values())
        return {f"{kind}.{name}": value for kind, given in seen.items() for name, value in given.items()}

    return params


def _end(mlflow: Any, away: type[Exception], tracked: Run, estimators: dict[str, Any], status: str) -> None:
    params = {name: str(value)[:MAX_PARAM_CHARS] for name, value in (estimators | tracked.params).items()}
    try:
        mlflow.log_params(params)
        mlflow.log_metrics(tracked.metrics)
        mlflow.end_run(status)
    except away as reason:
        sys.stderr.write(f"the run was not completed: {reason}\n")


def _reachable(uri: str) -> bool:
    address = urlsplit(uri)
    if address.scheme not in ("http", "https") or not address.hostname:
        return False
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname, port), CONNECT_TIMEOUT_S).close()
    except OSError as away:
        sys.stderr.write(f"training without a run: {uri} does not answer: {away}\n")
        return False
    return True
