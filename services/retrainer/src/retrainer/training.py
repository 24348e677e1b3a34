"""The training process: `python -m retrainer.training FOLDER JOB`. Started by `executor`, with limits, alone in its session.

It calls the user's train function twice: on the rows before the back-test, which are scored by it, and on all rows, for
the version that ships. What it refuses is said on its last line of output, exit code 65; what the user's code raises ends it
with a traceback, as Python does.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import resource
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from driftloop_detect.errors import NotReady
from driftloop_detect.structural import Reference
from driftloop_detect.windows import Calendar
from driftloop_models import ModelRefused, RowsRefused, TableModel, columns_of, golden, load, save, wrap
from retrainer import tracking
from retrainer.backtest import Rows, Scored, by_slice, held, latency_ms, scored
from retrainer.domain import BACKTEST_WINDOWS, MAX_ARTIFACT_BYTES
from retrainer.executor import REFUSED

ARTIFACT_FORMAT = "driftloop-table-model"
Train = Callable[[pa.Table, str, dict[str, Any], int], Any]


def main(folder: Path) -> None:
    """Leaves `artifact`, `reference.json` and `result.json` in the folder, or exits with the reason on its last line."""
    training = json.loads((folder / "training.json").read_text())
    rows = pq.read_table(folder / "rows.parquet")
    try:
        with tracking.run(training["model"], training["request_id"]) as run:
            result = trained(folder, training, rows)
            run.params = {
                "dataset_digest": training["dataset_digest"],
                "rows": result["rows"],
                "seed": training["seed"],
            }
            run.metrics = _metrics(result)
        result["run_id"] = run.run_id
    except (ModelRefused, RowsRefused, NotReady, EntryRefused) as refused:
        sys.stderr.write(f"\n{' '.join(str(refused).split())}\n")
        sys.exit(REFUSED)
    result["cpu_s"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_utime + resource.getrusage(resource.RUSAGE_SELF).ru_stime
    )
    (folder / "result.json").write_text(json.dumps(result, allow_nan=False))


class EntryRefused(Exception):  # a fact, like ModelRefused
    """The declaration's entry names nothing that can be called."""


def trained(folder: Path, training: dict[str, Any], rows: pa.Table) -> dict[str, Any]:
    """The candidate's evidence; its bytes are in the folder."""
    train, code_digest = _entry(training["entry"])
    # A window is what arrived after the close before it, up to its own; the cut-short last one is no window to hold to.
    boundary = datetime.fromisoformat(training["boundary"])
    last_close = boundary + BACKTEST_WINDOWS * timedelta(seconds=training["window_s"])
    later = pc.greater(rows["outcome_time"], pa.scalar(boundary, pa.timestamp("us", "UTC")))
    whole = pc.less_equal(rows["outcome_time"], pa.scalar(last_close, pa.timestamp("us", "UTC")))
    before, backtest = rows.filter(pc.invert(later)), rows.filter(pc.and_(later, whole))
    if not before.num_rows or not backtest.num_rows:
        raise RowsRefused(
            f"{before.num_rows} rows before {training['boundary']} and {backtest.num_rows} after: a back-test needs both; "
            "ask again when more outcomes have arrived"
        )
    held_back = _rows(backtest, training)
    fitted = _model(train, before, training)
    shipped = _model(train, rows.drop_columns(["outcome_time", "prediction_id", "time"]), training, held_back)
    (folder / "artifact").write_bytes(save(shipped))
    (folder / "reference.json").write_text(json.dumps(Reference.of(_arrays(rows, training)).to_json(), sort_keys=True))
    return _evidence(folder, training, fitted, held_back) | {
        "artifact_format": ARTIFACT_FORMAT,
        "code_digest": code_digest,
        "environment_digest": environment_digest(),
        "rows": rows.num_rows,
        "golden_rows": golden(shipped, held_back.columns),
        "latency_ms": latency_ms(shipped, held_back),
    }


def _evidence(folder: Path, training: dict[str, Any], fitted: TableModel, rows: Rows) -> dict[str, Any]:
    calendar = Calendar.of(timedelta(seconds=training["window_s"]), training["closes"], training["min_outcomes"])
    names, seed = (training["gate_loss"], training["trigger_loss"]), training["seed"]
    candidate = scored(fitted, rows, *names)
    incumbent: Scored | None = None
    if training["incumbent_digest"]:
        incumbent = scored(load((folder / "incumbent").read_bytes(), max_bytes=MAX_ARTIFACT_BYTES), rows, *names)
    return {
        "backtest": held(candidate, rows, calendar, training["trigger_loss"], seed),
        "incumbent": held(incumbent, rows, calendar, training["trigger_loss"], seed) if incumbent else None,
        "incumbent_version": training["incumbent_version"],
        "gain": float((incumbent.gate - candidate.gate).mean()) if incumbent else None,
        "slices": by_slice(training["slices"], rows, candidate, incumbent),
    }


def _model(train: Train, rows: pa.Table, training: dict[str, Any], sample: Rows | None = None) -> TableModel:
    returned = train(rows, training["target"], training["params"], training["seed"])
    features = training["features"]
    return wrap(returned, features, task=training["task"], sample=sample.columns if sample else None)


def _columns(rows: pa.Table, training: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    return {n: np.array(c, dtype=object) if isinstance(c, list) else c for n, c in columns_of(rows, training["features"]).items()}


def _arrays(rows: pa.Table, training: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(column, None if hasattr(column, "dtype") else object) for name, column in _columns(rows, training).items()}


def _rows(rows: pa.Table, training: dict[str, Any]) -> Rows:
    arrived = rows["outcome_time"].cast(pa.int64()).to_numpy()
    return Rows(_columns(rows, training), rows[training["target"]].to_pylist(), arrived)


def _entry(entry: str) -> tuple[Train, str]:
    """The train function and the digest of its module's file. Raises EntryRefused with what is there instead."""
    name, function = entry.split(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        raise EntryRefused(f"train.entry {entry}: {missing}; RETRAINER_CODE_PATH is {sys.path[1:2]}") from missing
    train = getattr(module, function, None)
    if not callable(train):
        there = sorted(word for word in vars(module) if not word.startswith("_") and callable(getattr(module, word)))
        raise EntryRefused(f"train.entry {entry}: {name} has no function {function}; it has {there[:20]}")
    source = Path(str(module.__file__)).read_bytes()
    return train, f"sha256:{hashlib.sha256(source).hexdigest()}"


def environment_digest() -> str:
    """sha256 over name and version of every installed distribution: the lock that this process really ran with."""
    installed = sorted({f"{one.name}=={one.version}" for one in importlib.metadata.distributions()})
    return f"sha256:{hashlib.sha256(chr(10).join(installed).encode()).hexdigest()}"


def _metrics(result: dict[str, Any]) -> dict[str, float]:
    backtest, incumbent = result["backtest"], result["incumbent"]
    shown = {"backtest_log_loss": backtest["log_loss"], "backtest_auc": backtest["auc"], "gain": result["gain"]}
    shown["loss_to_hold"] = backtest["loss_to_hold"]["mean"]
    if incumbent:
        shown["incumbent_log_loss"] = incumbent["log_loss"]
    return {name: value for name, value in shown.items() if value is not None}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
