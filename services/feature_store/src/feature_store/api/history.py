"""Single rows of the history, for people who follow a chain to its end."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from fastapi import APIRouter

from driftloop_bus.errors import Refused
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from feature_store.history import History
from feature_store.tables import NAMES, Tables

# Columns that hold JSON texts.
OBJECTS: Final = ("features", "keys", "feature_times", "values", "class_scores")
# So long a row that was read but not stored may take to be found.
SETTLE_S: Final = 5.0
Row = dict[str, Any]


def router(tables: Tables, history: History) -> APIRouter:
    """The routes. Ids are paths: they may contain slashes."""
    routes = APIRouter(prefix="/history")

    async def find(topics: tuple[str, ...], column: str, value: str) -> dict[str, list[Row]]:
        """Per topic the rows with this value; what was read but not stored is stored first, if there is none."""
        found = await asyncio.to_thread(_found, tables, topics, column, value)
        if not any(found.values()):
            await _settled(history)
            found = await asyncio.to_thread(_found, tables, topics, column, value)
        return found

    @routes.get("/events/{event_id:path}")
    async def event(event_id: str) -> Row:
        """The row with this event id, wherever it is: prediction, outcome or observation."""
        found = await find((OUTCOMES.name, PREDICTIONS.name, OBSERVATIONS.name), "event_id", event_id)
        for topic, rows in found.items():
            if rows:
                return {"topic": topic, "table": NAMES[topic], **rows[0]}
        raise Refused(f"no event {event_id} in the history", status=404)

    @routes.get("/predictions/{prediction_id:path}")
    async def prediction(prediction_id: str) -> Row:
        """All that is known of one prediction: who predicted, on which features, and what came true."""
        found = await find((PREDICTIONS.name, OUTCOMES.name), "prediction_id", prediction_id)
        if not any(found.values()):
            raise Refused(f"no prediction {prediction_id} in the history", status=404)
        return {"predictions": found[PREDICTIONS.name], "outcomes": found[OUTCOMES.name]}

    return routes


def _found(tables: Tables, topics: tuple[str, ...], column: str, value: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for topic in topics:
        found[topic] = [_shown(row) for row in tables.find(topic, column, value)]
        if column == "event_id" and found[topic]:
            break
    return found


async def _settled(history: History) -> None:
    try:
        async with asyncio.timeout(SETTLE_S):
            await history.settle()
    except TimeoutError:
        return


def _shown(row: Row) -> Row:
    return {name: json.loads(value) if name in OBJECTS and value else value for name, value in row.items()}
