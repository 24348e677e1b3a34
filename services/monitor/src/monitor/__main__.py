"""The monitor on one screen."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from fastapi import APIRouter

from driftloop_artifacts import (
    ArtifactCorrupt,
    ArtifactMissing,
    ArtifactStore,
    ArtifactTooLarge,
    BadDigest,
    StoreUnavailable,
)
from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Transaction
from driftloop_bus.runner import every, on, on_batch
from driftloop_contracts.control_plane import CommandGiven, DeploymentChanged, ModelDeclared, ModelRetired
from driftloop_contracts.loop import CandidateTrained, TrainingFailed
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS
from driftloop_kit.entry import main
from driftloop_kit.jobs import Job, JobFailed, JobKind, Jobs
from driftloop_kit.service import Context, Service
from driftloop_kit.settings import from_environment
from monitor.api import router
from monitor.handlers import Monitor
from monitor.notes import Notes
from monitor.ports import Board
from monitor.settings import Settings
from monitor.silence import Ends
from monitor.started import Started
from monitor.store.postgres import PostgresBoard, PostgresDocuments, PostgresPositions, PostgresStates
from monitor.store.postgres_features import REFERENCE_JOB, PostgresBlocks, PostgresReferences, PostgresTallies
from monitor.store.postgres_rows import PostgresRows
from monitor.store.shelf import Shelf

# A reference holds some figures a feature; one that is larger was made by a mistake.
MAX_REFERENCE_BYTES = 8 * 2**20


def build(settings: Settings) -> Service[Monitor]:
    """The service, ready to run."""
    artifacts = ArtifactStore.open(settings.needed("artifacts"))
    started, ends, notes, shelf = Started(), Ends(), Notes(), Shelf()

    def handlers(tx: Transaction) -> Monitor:
        connection = tx.connection
        return Monitor(
            PostgresStates(connection), PostgresRows(connection), PostgresDocuments(connection),
            PostgresPositions(connection, "monitor"), PostgresBlocks(connection), PostgresTallies(connection),
            PostgresReferences(connection, Jobs(tx), shelf), started, ends, notes,
        )  # fmt: skip

    async def look_where_declarations_end(context: Context[Monitor]) -> None:
        context.health.fact("models", notes.models)
        context.health.fact("undeclared", notes.undeclared)
        context.health.fact("unread_references", notes.unread)
        await started.look(context.log)

    async def look_where_data_ends(context: Context[Monitor]) -> None:
        await ends.watch(context.log)

    async def read_reference(context: Context[Monitor], job: Job) -> dict[str, str]:
        try:
            document = await artifacts.get(job.payload["digest"], max_bytes=MAX_REFERENCE_BYTES)
        except (ArtifactMissing, ArtifactCorrupt, StoreUnavailable) as error:
            # Who put it may put it again: a corrupt blob heals so.
            raise TryAgain(str(error)) from error
        except (ArtifactTooLarge, BadDigest) as error:
            raise JobFailed(str(error), "artifact") from error
        return {"digest": job.payload["digest"], "document": document.decode()}

    def api(context: Context[Monitor]) -> APIRouter:
        @asynccontextmanager
        async def reading() -> AsyncIterator[Board]:
            async with context.read() as connection:
                yield PostgresBoard(connection)

        return router(reading)

    return Service(
        "monitor",
        settings,
        handlers=handlers,
        routes=[
            on_batch(PREDICTIONS, Monitor.on_predictions),
            on_batch(OUTCOMES, Monitor.on_outcomes),
            on(DeploymentChanged, Monitor.on_deployment_changed),
            on(ModelDeclared, Monitor.on_model_declared),
            on(ModelRetired, Monitor.on_model_retired),
            on(CommandGiven, Monitor.on_command),
            on(CandidateTrained, Monitor.on_candidate_trained),
            on(TrainingFailed, Monitor.on_training_failed),
            every(5, Monitor.on_tick),
        ],
        api=api,
        jobs=[JobKind(REFERENCE_JOB, read_reference, ended=Monitor.on_reference_read)],
        background=[look_where_declarations_end, look_where_data_ends],
    )


def start() -> NoReturn:
    """`python -m monitor`, `... migrate`, `... rollups`."""
    if sys.argv[1:2] == ["rollups"]:
        # Faust is heavy and runs a loop of its own: only this process imports it.
        from monitor.rollups import run

        given = from_environment(Settings)
        run(given.kafka, given.data)
    main("monitor", build, Settings)


if __name__ == "__main__":
    start()
