"""A training's run in MLflow, by the stock client: for people. Nothing of the loop waits for it.

Tracking that is away costs one connection attempt, and MLflow is not even imported; the training goes on without a run.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S: Final = 1.0


@dataclass(slots=True)
class Run:
    """What is logged, and under which id. Without an id tracking was away, and nothing is logged."""

    run_id: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    autolog: bool = False

    def follow(self) -> None:
        """What is fitted from now on is autologged, if that is wanted: MLflow's own for scikit-learn, without models.

        It scores every estimator on all of its training rows, which costs about as much as the fit.
        """
        if self.run_id is not None and self.autolog:
            import mlflow.sklearn

            mlflow.sklearn.autolog(log_models=False, log_datasets=False, log_post_training_metrics=False, silent=True)


def warm() -> None:
    """MLflow is imported, if there is anybody to log to."""
    if _reachable(os.environ.get("MLFLOW_TRACKING_URI", "")):
        import mlflow.sklearn  # noqa: F401  # for its effect


@contextmanager
def run(model: str, request_id: str, *, autolog: bool) -> Iterator[Run]:
    """A run around a training. autolog: whether `follow` does anything."""
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
    tracked = Run(started.info.run_id, autolog=autolog)
    try:
        yield tracked
    except BaseException:
        _end(mlflow, MlflowException, tracked, "FAILED")
        raise
    _end(mlflow, MlflowException, tracked, "FINISHED")


def _end(mlflow: Any, away: type[Exception], tracked: Run, status: str) -> None:
    try:
        mlflow.log_params(tracked.params)
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
