"""newborn on one screen."""

from __future__ import annotations

from driftloop_bus.runner import on
from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.topics import DEPLOYMENTS
from driftloop_kit.entry import main
from driftloop_kit.service import Service
from newborn.api import build_api
from newborn.handlers import Newborn
from newborn.settings import Settings
from newborn.store import PostgresStandings


def build(settings: Settings) -> Service[Newborn]:
    """The service, ready to run."""
    return Service(
        "newborn",
        settings,
        handlers=lambda tx: Newborn(PostgresStandings(tx.connection)),
        routes=[on(DeploymentChanged, Newborn.on_deployment_changed, topic=DEPLOYMENTS)],
        api=build_api,
    )


if __name__ == "__main__":
    main("newborn", build, Settings)
