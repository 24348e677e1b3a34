"""Runs, as MLflow's clients know them; and the events that say so to everybody else."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from driftloop_contracts.control_plane import Metric, MetricsLogged, RunEnded, RunStarted
from driftloop_contracts.event import AnyEvent, derived_id, first
from registry.domain.search import Search
from registry.handlers.experiments import Experiments
from registry.handlers.refused import absent, invalid, no_run, not_active
from registry.ports import tracking
from registry.ports.tracking import Batch, Input, Page, Point, Run, RunInfo

RUN_NAME: Final = "mlflow.runName"
ENDED: Final = ("FINISHED", "FAILED", "KILLED")


class Runs:
    """Every change leaves its event in the same transaction. A replayed request changes nothing and says the same."""

    def __init__(self, runs: tracking.Runs, experiments: Experiments) -> None:
        self._runs = runs
        self._experiments = experiments

    async def create(self, info: RunInfo, tags: Mapping[str, str]) -> tuple[Run, list[AnyEvent]]:
        """The run is there; `info.artifact_root` is ignored."""
        experiment = await self._experiments.active(info.experiment_id)
        placed = replace(info, artifact_root=experiment.artifact_location)
        await self._runs.create(placed, tags)
        fact = RunStarted(run_id=info.run_id, experiment=experiment.name, name=info.name, tags=dict(tags))
        event = first(fact, id=derived_id(info.run_id, RunStarted.TYPE), time=_moment(info.start_ms or 0))
        return Run(placed, tags=tags), [event]

    async def get(self, run_id: str) -> Run:
        """Also a deleted one."""
        found = await self._runs.whole([run_id])
        if not found:
            raise no_run(run_id)
        return found[0]

    async def update(
        self, run_id: str, *, status: str | None, end_ms: int | None, name: str | None
    ) -> tuple[RunInfo, list[AnyEvent]]:
        """What is given has changed."""
        before = await self._active(run_id)
        await self._runs.update(run_id, status=status, end_ms=end_ms, name=name)
        if name is not None:
            await self._runs.add(run_id, Batch(tags={RUN_NAME: name}))
        after = replace(
            before, status=status or before.status, end_ms=end_ms or before.end_ms, name=name or before.name
        )
        return after, _ended(before, after)

    async def log(self, run_id: str, batch: Batch, *, one_param: bool = False) -> tuple[None, list[AnyEvent]]:
        """All of the batch is logged, or none of it. Metrics leave as one event."""
        await self._active(run_id)
        await self._refuse_changed_params(run_id, batch.params, one_param)
        await self._runs.add(run_id, batch)
        if RUN_NAME in batch.tags:
            await self._runs.update(run_id, status=None, end_ms=None, name=batch.tags[RUN_NAME])
        return None, _logged(run_id, batch.metrics)

    async def delete_tag(self, run_id: str, key: str) -> None:
        """The tag is gone."""
        await self._active(run_id)
        if not await self._runs.delete_tag(run_id, key):
            raise absent(f"No tag with name: {key} in run with id {run_id}")

    async def set_active(self, run_id: str, active: bool) -> None:
        """Deleted, or there again; twice is once."""
        if await self._runs.info(run_id) is None:
            raise no_run(run_id)
        await self._runs.set_active(run_id, active)

    async def add_inputs(self, run_id: str, inputs: Sequence[Input], models: Sequence[tuple[str, int]]) -> None:
        """The run read these."""
        await self._active(run_id)
        await self._runs.add_inputs(run_id, inputs)

    async def add_outputs(self, run_id: str, models: Sequence[tuple[str, int]]) -> None:
        """The run logged these models."""
        await self._active(run_id)
        await self._runs.add_outputs(run_id, models)

    async def history(self, run_id: str, key: str, page: Page) -> list[Point]:
        """All values of one metric."""
        if await self._runs.info(run_id) is None:
            raise no_run(run_id)
        return await self._runs.history(run_id, key, page)

    async def search(
        self, experiment_ids: Sequence[int], search: Search, active: bool | None, page: Page
    ) -> tuple[list[Run], bool]:
        """The page, and whether there is more."""
        found = await self._runs.search(experiment_ids, search, active, page)
        return await self._runs.whole(found[: page.limit]), len(found) > page.limit

    async def _active(self, run_id: str) -> RunInfo:
        info = await self._runs.info(run_id, lock=True)
        if info is None:
            raise no_run(run_id)
        if not info.active:
            raise not_active("run", run_id)
        return info

    async def _refuse_changed_params(self, run_id: str, params: Mapping[str, str], one_param: bool) -> None:
        if not params:
            return
        before = await self._runs.params(run_id, list(params))
        changed = [
            {"key": key, "old_value": old, "new_value": params[key]}
            for key, old in before.items()
            if old != params[key]
        ]
        if changed and one_param:
            raise invalid(
                f"Changing param values is not allowed. Param with key='{changed[0]['key']}' was already logged with "
                f"value='{changed[0]['old_value']}' for run ID='{run_id}'. Attempted logging new value "
                f"'{changed[0]['new_value']}'."
            )
        if changed:
            raise invalid(
                f"Changing param values is not allowed. Params were already logged='{changed}' for run ID='{run_id}'."
            )


def _ended(before: RunInfo, after: RunInfo) -> list[AnyEvent]:
    if after.status not in ENDED or after.status == before.status:
        return []
    ended_ms = after.end_ms or after.start_ms or 0
    event_id = derived_id(after.run_id, f"{RunEnded.TYPE}:{after.status}:{ended_ms}")
    return [first(RunEnded(run_id=after.run_id, status=after.status), id=event_id, time=_moment(ended_ms))]


def _logged(run_id: str, points: Sequence[Point]) -> list[AnyEvent]:
    """One event a request, its id derived from what it says: a replayed request is the same event."""
    # Numbers on the wire are finite: a diverged loss stays in the run's own data.
    told = [
        Metric(key=point.key, value=point.value, step=point.step, timestamp_ms=point.timestamp_ms)
        for point in points
        if math.isfinite(point.value)
    ]
    if not told:
        return []
    fact = MetricsLogged(run_id=run_id, metrics=told)
    digest = hashlib.sha256(json.dumps(fact.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
    newest_ms = max(metric.timestamp_ms for metric in told)
    return [first(fact, id=derived_id(run_id, f"{MetricsLogged.TYPE}:{digest}"), time=_moment(newest_ms))]


# The last moment that the wire can say; a client may send any 64-bit number.
_LAST_MS: Final = 253_402_300_799_000


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(min(at_ms, _LAST_MS) / 1000, UTC)
