"""The registry on one screen."""

from __future__ import annotations

from driftloop_artifacts import ArtifactStore
from driftloop_bus.ports import Transaction
from driftloop_bus.routes import Route, on, on_every, reads
from driftloop_contracts.control_plane import CommandGiven
from driftloop_contracts.loop import CandidateTrained, ChallengerJudged, RollbackAdvised
from driftloop_kit.entry import main
from driftloop_kit.service import Service
from registry.api import BODY_LIMITS, build_api
from registry.api.mlflow.artifacts import ARTIFACTS
from registry.handlers import Room
from registry.settings import Settings
from registry.store.catalogue import PostgresRegisteredModels, PostgresVersions
from registry.store.chain import PostgresAudit, PostgresChain
from registry.store.experiments import PostgresExperiments
from registry.store.files import PostgresFiles
from registry.store.logged_models import PostgresLoggedModels
from registry.store.models import PostgresModels
from registry.store.runs import PostgresRuns

NAME = "registry"


def room(tx: Transaction) -> Room:
    """The handlers of one transaction."""
    db = tx.connection
    return Room(
        PostgresModels(db),
        PostgresChain(db),
        PostgresAudit(db),
        experiments=PostgresExperiments(db),
        runs=PostgresRuns(db),
        logged=PostgresLoggedModels(db),
        files=PostgresFiles(db),
        registered=PostgresRegisteredModels(db),
        versions=PostgresVersions(db),
    )


def routes() -> list[Route[Room]]:
    """Every control topic is kept whole; four kinds of events are decided on."""
    kept: list[Route[Room]] = [on_every(topic, Room.on_any) for topic in reads(NAME)]
    return [
        *kept,
        on(CommandGiven, Room.on_command_given),
        on(CandidateTrained, Room.on_candidate_trained),
        on(ChallengerJudged, Room.on_challenger_judged),
        on(RollbackAdvised, Room.on_rollback_advised),
    ]


def build(settings: Settings) -> Service[Room]:
    """The service, ready to run."""
    artifacts = ArtifactStore.open(settings.needed("artifacts"))
    return Service(
        NAME,
        settings,
        handlers=room,
        routes=routes(),
        api=lambda context: build_api(context, artifacts, settings.max_file_bytes),
        body_limits={ARTIFACTS: settings.max_file_bytes, **BODY_LIMITS},
    )


if __name__ == "__main__":
    main(NAME, build, Settings)
