"""Serving on one screen: what it is made of, and how its parts are wired."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from fastapi import APIRouter
from starlette.types import ASGIApp

from driftloop_artifacts import ArtifactStore
from driftloop_bus.routes import on
from driftloop_bus.spool import Spool
from driftloop_contracts.control_plane import DeploymentChanged, ModelDeclared, ModelRetired
from driftloop_contracts.data_plane import FeaturesUpdated
from driftloop_kit.clock import utc_now
from driftloop_kit.entry import main
from driftloop_kit.service import Context, Service
from serving.api.hot import HotRoutes
from serving.api.repository import routes
from serving.counting import PrometheusCounts
from serving.handlers import Serving
from serving.online import OnlineReadings
from serving.settings import Settings
from serving.shelf import Shelf
from serving.ticks import Ticks

# How long the spool may still send once the last request is answered; the kit leaves it half a second.
LAST_WORDS_S: Final = 0.3
LOOK_S: Final = 0.25


def build(settings: Settings) -> Service[None]:
    """The service: state topics fill `Serving`, requests go through `Ticks`, predictions through the spool."""
    # Trees are walked by the calling thread alone: a team of threads costs more than the rows of one tick. Holds because
    # OpenMP reads this when scikit-learn is loaded, which is with the first boosted model.
    os.putenv("OMP_NUM_THREADS", "1")
    counts = PrometheusCounts()
    shelf = Shelf(ArtifactStore.open(settings.needed("artifacts")), counts)
    readings = OnlineReadings(settings.max_entities)
    serving = Serving(shelf, readings, counts, utc_now, any_time=settings.mode == "local")
    spool = Spool(settings.data / "spool", max_bytes=settings.spool_mib << 20, observe=counts.note)
    ticks = Ticks(serving, spool, counts)

    def hot(context: Context[None], behind: ASGIApp) -> ASGIApp:
        counts.into(context.telemetry)
        return HotRoutes(ticks, behind, lambda: context.health.ready)

    def api(context: Context[None]) -> APIRouter:
        say_what_is_loaded(context, shelf)
        context.health.fact("spool_pending", spool.pending)
        context.health.fact("spool_dropped", lambda: spool.dropped)
        context.health.fact("features", lambda: {"entities": len(readings), "refused": readings.refused})
        return routes(serving, shelf, lambda: context.health.ready)

    async def keep_the_shelf(context: Context[None]) -> None:
        await shelf.run()

    async def send_what_is_spooled(context: Context[None]) -> None:
        sending = asyncio.create_task(spool.run(context.log))
        try:
            await asyncio.shield(sending)
        finally:
            # The last request was answered: what its shadows say is kept, and sent if Kafka takes it at once.
            await ticks.shadows.drained()
            spool.stop()
            await asyncio.wait({sending}, timeout=LAST_WORDS_S)
            sending.cancel()

    async def watch_the_spool(context: Context[None]) -> None:
        while True:
            context.health.limp("spool", spool.waiting_for is None, spool.waiting_for or "")
            context.telemetry.set("driftloop_spool_pending", spool.pending())
            await asyncio.sleep(LOOK_S)

    return Service(
        "serving",
        settings,
        tail=(
            [
                on(DeploymentChanged, Serving.on_deployment_changed),
                on(ModelDeclared, Serving.on_model_declared),
                on(ModelRetired, Serving.on_model_retired),
                on(FeaturesUpdated, Serving.on_features_updated),
            ],
            serving,
        ),
        api=api,
        hot=hot,
        background=[keep_the_shelf, send_what_is_spooled, watch_the_spool],
    )


def say_what_is_loaded(context: Context[None], shelf: Shelf) -> None:
    """`/ready` names every deployed model; it is 503 while one was not tried yet."""

    def say_pending() -> None:
        pending = shelf.pending()
        context.health.say("models", not pending, f"loading {', '.join(pending[:5])}")

    shelf.changed = say_pending
    context.health.fact("models", lambda: {model: _model(shelf, model) for model in shelf.models()})


def _model(shelf: Shelf, model: str) -> dict[str, Any]:
    shown, errors = shelf.shown(model), shelf.errors(model)
    return {
        "revision": shown.plan.revision if shown else None,
        "champion": shown.champion.version if shown and shown.champion else None,
        "shadows": [one.version for one, _ in shown.shadows] if shown else [],
        "error": "; ".join(f"{version}: {why}" for version, why in errors.items()) or None,
    }


if __name__ == "__main__":
    main("serving", build, Settings)
