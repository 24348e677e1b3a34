"""The console on one screen."""

from __future__ import annotations

from fastapi import APIRouter

from console.api import router
from console.board import Board
from console.handlers import Console, on_event_of
from console.outlet import KafkaOutlet
from console.page import Pictures
from console.settings import Settings
from driftloop_bus.routes import on_every, reads
from driftloop_kit.clock import utc_now
from driftloop_kit.entry import main
from driftloop_kit.service import Context, Service


def build(settings: Settings) -> Service[Console]:
    """The service, ready to run."""
    board, outlet = Board(), KafkaOutlet(settings.kafka)

    async def take_commands(context: Context[Console]) -> None:
        await outlet.stay_open()

    def api(context: Context[Console]) -> APIRouter:
        context.health.fact("models", lambda: sorted(board.models))

        def waiting_for() -> str | None:
            said = context.health.report()
            return "; ".join([*said["reasons"].values(), *said.get("degraded", {}).values()]) or None

        return router(board, Pictures(board, waiting_for, utc_now), outlet, context.stopping)

    return Service(
        "console",
        settings,
        api=api,
        background=[take_commands],
        tail=([on_every(topic, on_event_of(topic)) for topic in reads("console")], Console(board)),
    )


if __name__ == "__main__":
    main("console", build, Settings)
