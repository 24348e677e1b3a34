"""The training process: `python -m retrainer.training FOLDER PARENT [ahead]`. Started by `process`, alone in its session.

It waits for a line on its input. Then it calls the user's train function twice: on the rows before the back-test, which
that model then scores, and on all rows, for the version that ships. Whatever ends it early leaves `failure.json`: what was
refused, or what was raised.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from driftloop_detect.errors import NotReady
from driftloop_models import ModelRefused, RowsRefused, TableModel, check_golden, golden, load, save, wrap
from retrainer import limits, tracking
from retrainer.backtest import LossRefused, Rows, check_losses, evidence, latency_ms, rows_of
from retrainer.domain import BACKTEST_WINDOWS, MAX_ARTIFACT_BYTES, Limits, Training
from retrainer.entry import EntryRefused, Train, code_digest, environment_digest, train_function
from retrainer.reference import reference_json

ARTIFACT_FORMAT: Final = "driftloop-table-model"
REFUSALS: Final = (ModelRefused, RowsRefused, NotReady, EntryRefused, LossRefused)
MAX_REASON_CHARS: Final = 2_000


def main(folder: Path, parent: int, *, ahead: bool) -> None:
    """Leaves `artifact`, `result.json` and, from enough rows, `reference.json` in the folder; or `failure.json`."""
    sys.excepthook = partial(leave_failure, folder)
    limits.die_with_parent(parent)
    if ahead:
        warm()
    if sys.stdin.readline() != "go\n":
        return
    given = json.loads((folder / "job.json").read_text())
    training = Training(**given["training"])
    limits.hold(Limits(**given["limits"]))
    with tracking.run(training.model, training.request_id, autolog=given["autolog"]) as run:
        result = trained(folder, training, given["code_path"], run)
        run.params = {"dataset_digest": training.dataset_digest, "rows": result["rows"], "seed": training.seed}
        run.metrics = metrics(result)
    result |= {"run_id": run.run_id, "cpu_s": cpu_s()}
    (folder / "result.json").write_text(json.dumps(result, allow_nan=False))


def warm() -> None:
    """What most trainings import is imported: whatever a model may hold is made by these."""
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401  # for its effect

    tracking.warm()


def trained(folder: Path, training: Training, code_path: list[str], run: tracking.Run) -> dict[str, Any]:
    """The candidate's evidence; its bytes are in the folder. Raises one of REFUSALS, or what the user's code raises."""
    check_losses(training)
    train = train_function(training.entry, code_path)
    rows = Split.of(pq.read_table(folder / "rows.parquet"), training)
    held_back = rows_of(rows.backtest, training)
    fitted = fit(train, rows.before, training, held_back)
    # What a run tells of is the version that ships.
    run.follow()
    shipped = fit(train, rows.whole, training, held_back)
    answers = golden(shipped, held_back.columns)
    (folder / "artifact").write_bytes(saved(shipped, answers))
    if (reference := reference_json(rows.whole, training)) is not None:
        (folder / "reference.json").write_text(reference)
    return evidence(training, fitted, incumbent(folder, training), held_back) | {
        "artifact_format": ARTIFACT_FORMAT,
        "code_digest": code_digest(training.entry),
        "environment_digest": environment_digest(),
        "rows": rows.whole.num_rows,
        "golden_rows": answers,
        "latency_ms": latency_ms(shipped, held_back),
    }


@dataclass(frozen=True, slots=True)
class Split:
    """The dataset, cut by when outcomes arrived: a model is judged on what it could not have known."""

    before: pa.Table
    backtest: pa.Table
    whole: pa.Table

    @classmethod
    def of(cls, rows: pa.Table, training: Training) -> Split:
        """Raises RowsRefused where a part has no rows."""
        boundary = datetime.fromisoformat(training.boundary)
        last_close = boundary + BACKTEST_WINDOWS * timedelta(seconds=training.window_s)
        # A window is what arrived after the close before it, up to its own. What came after the last whole window is
        # learnt from, but no window to be held to.
        later = pc.greater(rows["outcome_time"], pa.scalar(boundary, pa.timestamp("us", "UTC")))
        in_time = pc.less_equal(rows["outcome_time"], pa.scalar(last_close, pa.timestamp("us", "UTC")))
        before, backtest = rows.filter(pc.invert(later)), rows.filter(pc.and_(later, in_time))
        if not before.num_rows or not backtest.num_rows:
            raise RowsRefused(
                f"{before.num_rows} outcomes had arrived by {training.boundary} and {backtest.num_rows} in the "
                f"{BACKTEST_WINDOWS} windows after it; a back-test needs both: ask again when more have arrived"
            )
        return cls(before, backtest, rows)


def fit(train: Train, rows: pa.Table, training: Training, sample: Rows) -> TableModel:
    """What the train function makes of the features and the target of these rows. Raises ModelRefused if it is no model."""
    returned = train(
        rows.select([*training.features, training.target]), training.target, dict(training.params), training.seed
    )
    features: Any = training.features
    task: Any = training.task
    return wrap(returned, features, task=task, sample=sample.columns)


def saved(model: TableModel, answers: list[dict[str, Any]]) -> bytes:
    """The model's bytes. Raises ModelRefused unless what they hold answers as the model does."""
    data = save(model)
    check_golden(load(data, max_bytes=MAX_ARTIFACT_BYTES), answers)
    return data


def incumbent(folder: Path, training: Training) -> TableModel | None:
    """What serves now, if anything does."""
    if training.incumbent_digest is None:
        return None
    return load((folder / "incumbent").read_bytes(), max_bytes=MAX_ARTIFACT_BYTES)


def metrics(result: dict[str, Any]) -> dict[str, float]:
    """What people compare runs by."""
    backtest, champion = result["backtest"], result["incumbent"] or {}
    shown = {
        "backtest_log_loss": backtest["log_loss"],
        "backtest_auc": backtest["auc"],
        "loss_to_hold": backtest["loss_to_hold"]["mean"],
        "incumbent_log_loss": champion.get("log_loss"),
        "gain": result["gain"],
    }
    return {name: value for name, value in shown.items() if value is not None}


def cpu_s() -> float:
    """CPU seconds of this process and of those that it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def leave_failure(folder: Path, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """As `sys.excepthook`: the reason in one line for `failure.json`, the traceback on stderr as always."""
    limits.loosen()
    what, words = "raised", f"train() raised {kind.__name__}: {error}"
    if issubclass(kind, MemoryError):
        what = "memory"
    if issubclass(kind, REFUSALS):
        what, words = "refused", str(error)
    elif place := innermost(trace):
        words += f" ({place})"
    reason = " ".join(words.split())[:MAX_REASON_CHARS]
    (folder / "failure.json").write_text(json.dumps({"kind": what, "reason": reason}))
    sys.__excepthook__(kind, error, trace)


def innermost(trace: TracebackType | None) -> str:
    """`file.py:12`, where it was raised."""
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), ahead="ahead" in sys.argv[3:])
