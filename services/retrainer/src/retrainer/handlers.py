"""Hears retrain requests; asks for their rows, trains once, and tells what came of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from driftloop_bus.routes import Follows
from driftloop_contracts import AnyEvent, Cause, Event, caused, derived_id
from driftloop_contracts.control_plane import DeploymentChanged, ModelDeclared
from driftloop_contracts.documents import ModelDeclaration, duration
from driftloop_contracts.loop import (
    CandidateTrained,
    DatasetBuilt,
    DatasetFailed,
    DatasetRequested,
    RetrainRequested,
    SplitRule,
    TrainingFailed,
    TrainingStarted,
)
from driftloop_kit.jobs import Done, Job, JobEnd
from retrainer.domain import BACKTEST_WINDOWS, ENDED, TARGET, Limits, Training
from retrainer.ports import JobQueue, Repeated, Requests

TRAINING = "training"


class Retrainer:
    """One request, one training, one candidate."""

    def __init__(self, requests: Requests, jobs: JobQueue, repeated: Repeated) -> None:
        self.requests = requests
        self.jobs = jobs
        self.repeated = repeated

    async def on_model_declared(self, event: Event[ModelDeclared]) -> list[AnyEvent]:
        """The declaration is known; requests that waited for it go on."""
        await self.requests.put_declaration(event.data.document, event.data.digest)
        waiting = await self.requests.waiting(event.data.model)
        return [await self._asked(request, event.data.document) for request in waiting]

    async def on_deployment_changed(self, event: Event[DeploymentChanged]) -> list[AnyEvent]:
        """The incumbent of the next training is known."""
        await self.requests.put_deployment(event.data)
        return []

    async def on_retrain_requested(self, event: Event[RetrainRequested]) -> Follows:
        """The request is kept and repeated on its model's topic; its rows are asked for once the declaration is known."""
        if not await self.requests.add(event):
            return []
        declared = await self.requests.declaration(event.data.model)
        asked = [await self._asked(event, declared[0])] if declared else []
        return [*self.repeated(event), *asked]

    async def on_dataset_built(self, event: Event[DatasetBuilt]) -> list[AnyEvent]:
        """A training is queued, its id derived from the request: however often its rows come, it is one training."""
        found = await self.requests.get(event.data.request_id)
        declared = await self.requests.declaration(event.data.model)
        if found is None or declared is None or found[1] in ENDED:
            return []
        deployment = await self.requests.deployment(event.data.model)
        payload = training_payload(event, found[0], declared[0], deployment)
        await self.jobs.add(derived_id(event.data.request_id, TRAINING), TRAINING, payload, event.as_cause())
        await self.requests.move(event.data.request_id, "training")
        return []

    async def on_dataset_failed(self, event: Event[DatasetFailed]) -> list[AnyEvent]:
        """Without rows there is no training; the request ends here."""
        if await self.requests.get(event.data.request_id) is None:
            return []
        await self.requests.move(event.data.request_id, "failed")
        fact = TrainingFailed(
            model=event.data.model, request_id=event.data.request_id, reason=event.data.reason, kind="dataset"
        )
        return [caused(fact, event.as_cause())]

    async def on_training_started(self, job: Job) -> list[AnyEvent]:
        """Said once, whoever trains it and however often it is taken up again."""
        training = job.payload["training"]
        fact = TrainingStarted(
            model=training["model"], request_id=training["request_id"], dataset_digest=training["dataset_digest"]
        )
        return [caused(fact, _cause(job))]

    async def on_training_ended(self, job: Job, end: JobEnd) -> list[AnyEvent]:
        """The candidate with its evidence, or the reason why there is none."""
        training = job.payload["training"]
        request_id = training["request_id"]
        await self.requests.move(request_id, "trained" if isinstance(end, Done) else "failed")
        if isinstance(end, Done):
            return [caused(CandidateTrained.model_validate(end.result), _cause(job))]
        failed = TrainingFailed(
            model=training["model"], request_id=request_id, reason=end.reason, kind=end.kind, attempt=job.attempt
        )
        return [caused(failed, _cause(job))]

    async def _asked(self, request: Event[RetrainRequested], declared: ModelDeclaration) -> AnyEvent:
        await self.requests.move(request.id, "gathering")
        return caused(dataset_wanted(request, declared), request.as_cause())


def dataset_wanted(request: Event[RetrainRequested], declared: ModelDeclaration) -> DatasetRequested:
    """The rows that a training of this request needs."""
    trigger = declared.monitor.trigger
    return DatasetRequested(
        model=declared.model,
        request_id=request.id,
        window=request.data.window,
        features=list(declared.features),
        target=TARGET,
        split=SplitRule(holdout_window=trigger.window, holdout_windows=BACKTEST_WINDOWS, closes=trigger.closes),
    )


def training_payload(
    built: Event[DatasetBuilt],
    request: Event[RetrainRequested],
    declared: ModelDeclaration,
    deployment: DeploymentChanged | None,
) -> dict[str, Any]:
    """The job: everything a training is given, so that it runs the same wherever and whenever it runs."""
    trigger, champion = declared.monitor.trigger, deployment.champion if deployment else None
    boundary = built.data.manifest.boundary or built.data.manifest.until
    training = Training(
        request_id=request.id,
        model=declared.model,
        task=declared.task,
        entry=declared.train.entry,
        features={name: feature.type for name, feature in declared.features.items()},
        target=TARGET,
        params=declared.train.params,
        seed=declared.train.seed,
        dataset_digest=built.data.digest,
        boundary=boundary.isoformat(),
        window_s=int(duration(trigger.window).total_seconds()),
        closes=trigger.closes,
        min_outcomes=trigger.min_outcomes,
        gate_loss=declared.outcome.loss,
        trigger_loss=trigger.loss,
        slices=declared.gate.slices,
        segment=declared.segments[0] if declared.segments else None,
        incumbent_version=champion.version if champion else None,
        incumbent_digest=champion.artifact_digest if champion else None,
    )
    limits = Limits(timeout_s=duration(declared.train.timeout).total_seconds(), memory_mb=declared.train.memory_mb)
    return {"limits": asdict(limits), "training": asdict(training)}


def _cause(job: Job) -> Cause:
    """The DatasetBuilt event that the job follows from."""
    if job.cause is None:
        raise ValueError(f"job {job.id} of kind {job.kind} was stored without its cause")
    return job.cause
