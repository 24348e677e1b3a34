"""Feast's feature server (0.67): get-online-features, push, write-to-online-store. Same shapes, fewer faults.

A late row never overwrites a newer one; a stored null says NULL_VALUE, a row past its view's ttl OUTSIDE_MAX_AGE; a
caller's mistake is 422 where stock says 500, since its client repeats 500 and loses the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from driftloop_contracts import derived_id
from driftloop_contracts.data_plane import ObservationMade
from driftloop_contracts.documents import ViewDeclaration, duration
from driftloop_contracts.event import Event
from driftloop_kit.service import Context
from feature_store.domain import Reading, Scalar, plain, status_of
from feature_store.handlers import FeatureStore, observed
from feature_store.store import PostgresDeclarations, PostgresOnline

EPOCH: Final = "1970-01-01T00:00:00Z"
MAX_ROWS: Final = 1_000


class FeastError(Exception):
    """Feast's error: the client raises the class that is named."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = json.dumps({"module": "feast.errors", "class": name, "message": message})


class Mistake(Exception):  # a fact about a request
    """A caller's mistake that Feast has no class for, in plain words."""


class Asked(BaseModel):
    """`/get-online-features`."""

    model_config = ConfigDict(extra="ignore")
    entities: dict[str, list[Any]]
    features: list[str] | None = None
    feature_service: str | None = None
    full_feature_names: bool = False


class Pushed(BaseModel):
    """`/push`."""

    model_config = ConfigDict(extra="ignore")
    push_source_name: str
    df: dict[str, list[Any]]
    to: Literal["online", "offline", "online_and_offline"] = "online"


class Written(BaseModel):
    """`/write-to-online-store`."""

    model_config = ConfigDict(extra="ignore")
    feature_view_name: str
    df: dict[str, list[Any]]


def app(context: Context[FeatureStore], project: str, now: Callable[[], datetime]) -> FastAPI:
    """The protocol, with its own error shape. `now` tells the age of a row."""
    routes = FastAPI(title="feature store")
    routes.add_exception_handler(FeastError, feast_error)
    routes.add_exception_handler(Mistake, feast_error)

    async def views() -> dict[str, ViewDeclaration]:
        async with context.read() as connection:
            return await PostgresDeclarations(connection).views()

    @routes.get("/health")
    async def health() -> Response:
        return Response()

    @routes.post("/get-online-features")
    async def get_online_features(asked: Asked) -> JSONResponse:
        known = await views()
        wanted = references(asked, known, project)
        keys = entity_keys(asked, wanted, known)
        async with context.read() as connection:
            found = await PostgresOnline(connection).get(sorted({key for column in keys.values() for key in column}))
        return JSONResponse(answer(asked, wanted, keys, known, found, now()))

    @routes.post("/push")
    async def push(pushed: Pushed) -> Response:
        targets = [view for view in (await views()).values() if view.push_source == pushed.push_source_name]
        if not targets:
            raise FeastError(
                422, "PushSourceNotFoundException", f"Unable to find push source '{pushed.push_source_name}'."
            )
        await store(context.act, [event for view in targets for event in rows_of(view, pushed.df)])
        return Response()

    @routes.post("/write-to-online-store")
    async def write_to_online_store(written: Written) -> JSONResponse:
        view = (await views()).get(written.feature_view_name)
        if view is None:
            name = written.feature_view_name
            raise FeastError(
                404, "FeatureViewNotFoundException", f"Feature view {name} does not exist in project {project}"
            )
        await store(context.act, rows_of(view, written.df))
        return JSONResponse(None)

    @routes.post("/materialize")
    @routes.post("/materialize-incremental")
    async def materialize() -> JSONResponse:
        """The stream keeps every view current: there is nothing to do."""
        return JSONResponse(None)

    return routes


async def store(act: Callable[[Any], Awaitable[int]], events: list[Event[ObservationMade]]) -> None:
    """The rows are in Postgres and on their way to the log, in one transaction."""
    await act(lambda handlers: handlers.push(events))


def references(asked: Asked, known: dict[str, ViewDeclaration], project: str) -> list[tuple[str, str]]:
    """(view, feature) in request order. Raises FeastError or Mistake for what does not exist."""
    if asked.feature_service is not None or asked.features is None:
        name = asked.feature_service
        raise FeastError(
            404, "FeatureServiceNotFoundException", f"Feature service {name} does not exist in project {project}"
        )
    wanted = []
    for reference in asked.features:
        view, _, feature = reference.partition(":")
        if view not in known:
            raise FeastError(
                404, "FeatureViewNotFoundException", f"Feature view {view} does not exist in project {project}"
            )
        if feature not in known[view].features:
            raise Mistake(f"feature {feature!r} is not in view {view}; it has {sorted(known[view].features)}")
        wanted.append((view, feature))
    names = [feature for _, feature in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and not asked.full_feature_names:
        raise FeastError(422, "FeatureNameCollisionError", _collision(twice))
    return wanted


def entity_keys(
    asked: Asked, wanted: list[tuple[str, str]], known: dict[str, ViewDeclaration]
) -> dict[str, list[tuple[str, str]]]:
    """Per view the (view, entity) of each requested row. Raises Mistake for a missing or uneven join key."""
    lengths = {len(column) for column in asked.entities.values()}
    if len(lengths) != 1 or lengths.pop() > MAX_ROWS:
        raise Mistake(f"entities must be columns of one length, at most {MAX_ROWS} rows")
    keys = {}
    for view in {view for view, _ in wanted}:
        key = known[view].entity
        if key not in asked.entities:
            raise Mistake(f"join key {key!r} of view {view} is missing; given are {sorted(asked.entities)}")
        keys[view] = [(view, str(value)) for value in asked.entities[key]]
    return keys


def answer(
    asked: Asked, wanted: list[tuple[str, str]], keys: dict[str, list[tuple[str, str]]],
    known: dict[str, ViewDeclaration], found: dict[tuple[str, str], Reading], now: datetime,
) -> dict[str, Any]:  # fmt: skip
    """The answer: one column a name, its lists over the entities in request order."""
    joined = sorted({known[view].entity for view, _ in wanted})
    names = joined + [f"{view}__{name}" if asked.full_feature_names else name for view, name in wanted]
    results = [_entities(asked.entities[key]) for key in joined]
    for view, name in wanted:
        rows = [found.get(key) for key in keys[view]]
        ttl = duration(text) if (text := known[view].ttl) else None
        values: list[Scalar] = [row.values.get(name) if row else None for row in rows]
        results.append(
            {
                "values": values,
                "statuses": [status_of(value, row, ttl, now) for value, row in zip(values, rows, strict=True)],
                "event_timestamps": [_stamp(row.time) if row else EPOCH for row in rows],
            }
        )
    return {"metadata": {"feature_names": names}, "results": results}


def rows_of(view: ViewDeclaration, df: dict[str, list[Any]]) -> list[Event[ObservationMade]]:
    """The rows of a data frame as observations. Raises Mistake, saying what is missing, for one that does not fit."""
    lengths = {name: len(column) for name, column in df.items()}
    if len(set(lengths.values())) != 1 or max(lengths.values()) > MAX_ROWS:
        raise Mistake(f"df must have columns of one length, at most {MAX_ROWS} rows; given {lengths}")
    needed = {view.entity, "event_timestamp"}
    if missing := sorted(needed - set(df)):
        raise Mistake(f"df has no column {', '.join(missing)}; view {view.view} needs {sorted(needed)}")
    return [_row(view, {name: plain(column[i]) for name, column in df.items()}) for i in range(lengths[view.entity])]


def _row(view: ViewDeclaration, row: dict[str, Scalar]) -> Event[ObservationMade]:
    values = {name: row[name] for name in view.features if name in row}
    time, entity = _moment(row["event_timestamp"]), str(row[view.entity])
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    identity = derived_id(f"{view.view}/{entity}", f"{time.isoformat()} {row.get('created')} {digest}")
    return observed(view.view, entity, values, time, row_id=identity)


def _moment(value: Scalar) -> datetime:
    if not isinstance(value, str):
        raise Mistake(f"event_timestamp must be ISO 8601 text, got {value!r}")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as odd:
        raise Mistake(f"event_timestamp must be ISO 8601 text, got {value!r}") from odd
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _entities(column: list[Any]) -> dict[str, Any]:
    return {"values": column, "statuses": ["PRESENT"] * len(column), "event_timestamps": [EPOCH] * len(column)}


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _collision(names: list[str]) -> str:
    return (
        f"Duplicate features named {', '.join(names)} found.\nTo resolve this collision, either use the full feature name by "
        "setting 'full_feature_names=True', or ensure that the features in question have different names."
    )


async def feast_error(request: Request, error: Exception) -> JSONResponse:
    """A JSON string that holds JSON: the client parses it twice. A mistake is plain words, and never 5xx."""
    match error:
        case FeastError():
            return JSONResponse(error.body, error.status)
        case Mistake():
            return JSONResponse(str(error), 422)
    raise error
