"""The feature store on one screen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI

from driftloop_artifacts import ArtifactStore
from driftloop_bus.errors import BadMessage, TryAgain
from driftloop_bus.parking import Parked
from driftloop_bus.ports import Record
from driftloop_bus.runner import on, on_batch
from driftloop_contracts.control_plane import ModelDeclared, ViewDeclared
from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.loop import DatasetRequested
from driftloop_contracts.topics import OBSERVATIONS
from driftloop_kit.entry import main
from driftloop_kit.jobs import Job, JobKind, Jobs
from driftloop_kit.service import Context, Service
from feature_store.api import feast
from feature_store.api import history as rows
from feature_store.gathering import Gathering
from feature_store.handlers import DATASET, FeatureStore
from feature_store.history import History
from feature_store.settings import Settings
from feature_store.store import PostgresDeclarations, PostgresOnline
from feature_store.tables import Tables

VERSION: Final = version("driftloop-feature-store")
# So long a killed feature store's dataset waits until it is begun anew. The loop that renews it only ever waits.
LEASE_S: Final = 15.0
LOOK_S: Final = 0.5


def build(settings: Settings) -> Service[FeatureStore]:
    """The service, ready to run."""
    tables = Tables(settings.needed("history"))
    artifacts = ArtifactStore.open(settings.needed("artifacts"))
    history = History(tables)
    gathering = Gathering(tables, history, artifacts)

    async def keep_history(context: Context[FeatureStore]) -> None:
        context.health.fact("history", history.positions)
        async with asyncio.TaskGroup() as group:
            group.create_task(history.run(context.log, partial(park, context), partial(count_rows, context)))
            group.create_task(look_after(context, history))

    async def gather(context: Context[FeatureStore], job: Job) -> dict[str, Any]:
        request = DatasetRequested.model_validate(job.payload["request"])
        document, digest = await declaration(context, job)
        # All that was observed before rows were asked for counts, read here or not: the history is waited for.
        observations = await context.log.end_offsets([OBSERVATIONS.name])
        return await gathering.run(request, document, digest, observations)

    def api(context: Context[FeatureStore]) -> FastAPI:
        app = feast.app(context, settings.project, stores, lambda: datetime.now(UTC))
        app.include_router(rows.router(tables, history))
        return app

    return Service(
        "feature_store",
        settings,
        handlers=lambda tx: FeatureStore(*stores(tx.connection), Jobs(tx)),
        routes=[
            on(ModelDeclared, FeatureStore.on_model_declared),
            on(ViewDeclared, FeatureStore.on_view_declared),
            on_batch(OBSERVATIONS, FeatureStore.on_observations),
            on(DatasetRequested, FeatureStore.on_dataset_requested),
        ],
        api=api,
        jobs=[JobKind(DATASET, gather, ended=FeatureStore.on_dataset_ended, lease_s=LEASE_S)],
        background=[keep_history],
    )


def stores(connection: Any) -> tuple[PostgresOnline, PostgresDeclarations]:
    """The two stores on one connection."""
    return PostgresOnline(connection), PostgresDeclarations(connection)


async def declaration(context: Context[FeatureStore], job: Job) -> tuple[ModelDeclaration, str]:
    """The declaration that was known when the job was left, else today's. Raises TryAgain while there is none."""
    if (then := job.payload["declared"]) is not None:
        return ModelDeclaration.model_validate(then["document"]), then["digest"]
    model = job.payload["request"]["model"]
    async with context.read() as connection:
        found = await PostgresDeclarations(connection).model(model)
    if found is None:
        raise TryAgain(f"model {model} is not declared yet; apply its declaration")
    return found


async def park(context: Context[FeatureStore], bad: Sequence[tuple[Record, BadMessage]]) -> None:
    """Records that the history can't read are parked, each once. Raises TryAgain while Postgres is away."""
    if context.ledger is None:
        raise RuntimeError("the feature store has a database")
    async with context.ledger.transaction() as tx:
        new = await tx.unseen([f"history {record.position}" for record, _ in bad])
        letters = [
            Parked(*one).letter("feature_store", VERSION) for one, unseen in zip(bad, new, strict=True) if unseen
        ]
        await tx.publish(letters)


def count_rows(context: Context[FeatureStore], topic: str, stored: int) -> None:
    """So many rows of the topic are in the history now."""
    context.telemetry.count("driftloop_history_rows", stored, topic)


async def look_after(context: Context[FeatureStore], history: History) -> None:
    """`/ready` says why the history stands still; the online values go on meanwhile."""
    while True:
        reason = history.waiting_for
        context.health.limp("history", reason is None, reason or "")
        context.telemetry.set("driftloop_history_waiting", history.rows_waiting())
        await asyncio.sleep(LOOK_S)


if __name__ == "__main__":
    main("feature_store", build, Settings)
