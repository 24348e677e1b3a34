"""One small topic for each model, on which its retrain requests are repeated: an orchestrator watches that alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from driftloop_bus.codec import encode
from driftloop_bus.errors import DriftloopError
from driftloop_bus.ports import Outgoing
from driftloop_bus.topics import ensure_on_demand
from driftloop_contracts import Event
from driftloop_contracts.loop import RetrainRequested
from driftloop_contracts.topics import on_demand
from driftloop_kit.health import Health

LOOK_S: Final = 2.0
# Kafka's own limit.
MAX_TOPIC_NAME: Final = 249


def repeated(request: Event[RetrainRequested]) -> list[Outgoing]:
    """The request, unchanged, on its model's topic; nothing for a name that is too long to be one."""
    topic = on_demand(request.data.model)
    return [encode(request, "retrainer", topic=topic)] if len(topic) <= MAX_TOPIC_NAME else []


async def keep_topics(kafka: str, models: Callable[[], Awaitable[set[str]]], health: Health) -> None:
    """Every declared model has its topic, as long as this runs. What waits for a topic is sent once it is there."""
    there: set[str] = set()
    while True:
        try:
            for model in sorted(await models() - there):
                if len(on_demand(model)) <= MAX_TOPIC_NAME:
                    await ensure_on_demand(kafka, model)
                there.add(model)
            health.limp("on-demand topics", True)
        except (
            DriftloopError
        ) as error:  # away for the moment, or a topic that somebody made otherwise: a person sees it
            health.limp("on-demand topics", False, error.message)
        await asyncio.sleep(LOOK_S)
