"""Single rows of the history, for people who follow a chain to its end."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from driftloop_bus.errors import Refused
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from feature_store.tables import NAMES, Tables


def router(tables: Tables) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/history")

    @routes.get("/events/{event_id}")
    async def event(event_id: str) -> dict[str, Any]:
        """The row with this event id, wherever it is: prediction, outcome or observation."""
        for topic in (OUTCOMES.name, PREDICTIONS.name, OBSERVATIONS.name):
            rows = await asyncio.to_thread(tables.find, topic, "event_id", event_id)
            if rows:
                return {"topic": topic, "table": NAMES[topic], **rows[0]}
        raise Refused(f"no event {event_id} in the history; rows appear a few seconds after they were sent", status=404)

    @routes.get("/predictions/{prediction_id:path}")
    async def prediction(prediction_id: str) -> dict[str, Any]:
        """All that is known of one prediction: who predicted, on which features, and what came true."""
        predictions = await asyncio.to_thread(tables.find, PREDICTIONS.name, "prediction_id", prediction_id)
        outcomes = await asyncio.to_thread(tables.find, OUTCOMES.name, "prediction_id", prediction_id)
        if not predictions and not outcomes:
            raise Refused(f"no prediction {prediction_id} in the history", status=404)
        return {"predictions": predictions, "outcomes": outcomes}

    return routes
