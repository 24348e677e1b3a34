"""The retrainer on one screen."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic
from typing import Final

from driftloop_artifacts import ArtifactStore
from driftloop_bus.runner import on
from driftloop_contracts.control_plane import DeploymentChanged, ModelDeclared
from driftloop_contracts.loop import DatasetBuilt, DatasetFailed, RetrainRequested
from driftloop_kit.entry import main
from driftloop_kit.jobs import Job, JobFailed, JobKind, Jobs
from driftloop_kit.service import Context, Service
from retrainer.executor import Executor
from retrainer.handlers import TRAINING, Retrainer
from retrainer.on_demand import keep_topics, repeated
from retrainer.settings import Settings
from retrainer.store import PostgresRequests
from retrainer.tidying import keep_swept
from retrainer.warming import keep_warm

# So long a killed retrainer's training waits until another begins it anew. The loop that renews it only ever waits.
LEASE_S: Final = 10.0


def build(settings: Settings) -> Service[Retrainer]:
    """The service, ready to run."""
    artifacts = ArtifactStore.open(settings.needed("artifacts"))
    executor = Executor(artifacts, settings.code_path, settings.tracking_uri, settings.data, settings.autolog)

    async def train(context: Context[Retrainer], job: Job) -> dict[str, object]:
        model, began = job.payload["training"]["model"], monotonic()
        try:
            candidate = await executor.run(job.id, job.payload)
        except JobFailed as failed:
            context.telemetry.count("driftloop_trainings", 1, model, failed.kind)
            raise
        context.telemetry.count("driftloop_trainings", 1, model, "trained")
        context.telemetry.time("driftloop_training_seconds", monotonic() - began, model)
        return candidate

    async def keep_ready(context: Context[Retrainer]) -> None:
        context.health.fact("training", executor.running)
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_topics(settings.kafka, partial(models, context), context.health))
            group.create_task(keep_warm(executor, partial(gathering, context)))
            group.create_task(keep_swept(artifacts, context.telemetry))

    return Service(
        "retrainer",
        settings,
        handlers=lambda tx: Retrainer(PostgresRequests(tx.connection), Jobs(tx), repeated),
        routes=[
            on(ModelDeclared, Retrainer.on_model_declared),
            on(DeploymentChanged, Retrainer.on_deployment_changed),
            on(RetrainRequested, Retrainer.on_retrain_requested),
            on(DatasetBuilt, Retrainer.on_dataset_built),
            on(DatasetFailed, Retrainer.on_dataset_failed),
        ],
        jobs=[
            JobKind(
                TRAINING,
                train,
                started=Retrainer.on_training_started,
                ended=Retrainer.on_training_ended,
                parallel=settings.parallel_trainings,
                lease_s=LEASE_S,
            )
        ],
        background=[keep_ready],
    )


async def models(context: Context[Retrainer]) -> set[str]:
    """Every declared model."""
    async with context.read() as connection:
        return await PostgresRequests(connection).models()


async def gathering(context: Context[Retrainer]) -> int:
    """How many requests wait for their rows."""
    async with context.read() as connection:
        return await PostgresRequests(connection).gathering()


if __name__ == "__main__":
    main("retrainer", build, Settings)
