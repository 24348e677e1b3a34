"""The feature store on one screen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI

from driftloop_artifacts import ArtifactStore
from driftloop_bus.errors import BadMessage
from driftloop_bus.parking import Parked
from driftloop_bus.ports import Record
from driftloop_bus.runner import on, on_batch
from driftloop_contracts.control_plane import ModelDeclared, ViewDeclared
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


def build(settings: Settings) -> Service[FeatureStore]:
    """The service, ready to run."""
    tables = Tables(settings.needed("history"))
    history = History(tables)
    gathering = Gathering(tables, history, ArtifactStore.open(settings.needed("artifacts")))

    async def keep_history(context: Context[FeatureStore]) -> None:
        context.health.fact("history", history.positions)

        async def park(bad: Sequence[tuple[Record, BadMessage]]) -> None:
            if context.ledger is None:
                raise RuntimeError("the feature store has a database")
            async with context.ledger.transaction() as tx:
                await tx.publish([Parked(record, error).letter("feature_store", VERSION) for record, error in bad])

        await history.run(context.log, park)

    async def gather(context: Context[FeatureStore], job: Job) -> dict[str, Any]:
        return await gathering.run(job.payload)

    def api(context: Context[FeatureStore]) -> FastAPI:
        app = feast.app(context, settings.project, lambda: datetime.now(UTC))
        app.include_router(rows.router(tables))
        return app

    return Service(
        "feature_store",
        settings,
        handlers=lambda tx: FeatureStore(PostgresOnline(tx.connection), PostgresDeclarations(tx.connection), Jobs(tx)),
        routes=[
            on(ModelDeclared, FeatureStore.on_model_declared),
            on(ViewDeclared, FeatureStore.on_view_declared),
            on_batch(OBSERVATIONS, FeatureStore.on_observations),
            on(DatasetRequested, FeatureStore.on_dataset_requested),
        ],
        api=api,
        jobs=[JobKind(DATASET, gather, ended=FeatureStore.on_dataset_ended, lease_s=60.0)],
        background=[keep_history],
    )


if __name__ == "__main__":
    main("feature_store", build, Settings)
