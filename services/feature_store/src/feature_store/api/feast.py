"""Feast's feature server (0.67): get-online-features, push, write-to-online-store. Same shapes, fewer faults.

A late row never overwrites a newer one; a stored null says NULL_VALUE, a row past its view's ttl OUTSIDE_MAX_AGE; a
caller's mistake is 422 where stock says 500, since its client repeats 500 and loses the text.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from driftloop_contracts.data_plane import ObservationMade
from driftloop_contracts.documents import ViewDeclaration
from driftloop_contracts.event import Event
from driftloop_kit.service import Context
from feature_store.api.online import Mistake, Unknown, answer, entity_keys, references
from feature_store.api.rows import rows_of
from feature_store.handlers import FeatureStore
from feature_store.ports import Declarations, Online

TARGETS: Final = ("online", "offline", "online_and_offline")
Stores = Callable[[Any], tuple[Online, Declarations]]


class Asked(BaseModel):
    """`/get-online-features`."""

    model_config = ConfigDict(extra="ignore")
    entities: dict[str, list[Any]]
    features: list[str] | None = None
    feature_service: str | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


class Pushed(BaseModel):
    """`/push`."""

    model_config = ConfigDict(extra="ignore")
    push_source_name: str
    df: dict[str, list[Any]]
    to: str = "online"


class Written(BaseModel):
    """`/write-to-online-store`."""

    model_config = ConfigDict(extra="ignore")
    feature_view_name: str
    df: dict[str, list[Any]]


class Materialized(BaseModel):
    """`/materialize` and `/materialize-incremental`."""

    model_config = ConfigDict(extra="ignore")
    feature_views: list[str] | None = None


def app(context: Context[FeatureStore], project: str, stores: Stores, now: Callable[[], datetime]) -> FastAPI:
    """The protocol, with its own error shape. stores: by a connection. now: tells the age of a row."""
    routes = FastAPI(title="feature store", docs_url=None, redoc_url=None)
    for kind in (Unknown, Mistake, RequestValidationError):
        routes.add_exception_handler(kind, feast_error)

    async def views() -> dict[str, ViewDeclaration]:
        async with context.read() as connection:
            return await stores(connection)[1].views()

    @routes.get("/health")
    async def health() -> Response:
        return Response()

    @routes.post("/get-online-features")
    async def get_online_features(asked: Asked) -> JSONResponse:
        known = await views()
        wanted = references(asked.features, asked.feature_service, known, project, full=asked.full_feature_names)
        keys = entity_keys(asked.entities, wanted, known)
        async with context.read() as connection:
            found = await stores(connection)[0].get(sorted({key for column in keys.values() for key in column}))
        answered = answer(asked.entities, wanted, keys, known, found, now(), full=asked.full_feature_names)
        if asked.include_feature_view_version_metadata:
            answered["metadata"]["feature_view_metadata"] = [{"name": name} for name in keys]
        return JSONResponse(answered)

    @routes.post("/push")
    async def push(pushed: Pushed) -> Response:
        targets = [view for view in (await views()).values() if view.push_source == pushed.push_source_name]
        if not targets:
            message = f"Unable to find push source '{pushed.push_source_name}'."
            raise Unknown(422, "PushSourceNotFoundException", message)
        if pushed.to not in TARGETS:
            raise Mistake(f"{pushed.to} is not a supported push format. Please specify one of these {list(TARGETS)}.")
        await store(context.act, [event for view in targets for event in rows_of(view, pushed.df)])
        return Response()

    @routes.post("/write-to-online-store")
    async def write_to_online_store(written: Written) -> JSONResponse:
        view = (await views()).get(written.feature_view_name)
        if view is None:
            message = f"Can't recognize feast object with a name {written.feature_view_name}"
            raise Unknown(404, "FeastObjectNotFoundException", message)
        await store(context.act, rows_of(view, written.df))
        return JSONResponse(None)

    @routes.post("/materialize")
    async def materialize(asked: Materialized) -> JSONResponse:
        """The stream keeps every view current: there is nothing to do."""
        materializable(asked, await views(), project)
        return JSONResponse(None)

    @routes.post("/materialize-incremental")
    async def materialize_incremental(asked: Materialized, request: Request) -> JSONResponse:
        named = materializable(asked, await views(), project)
        if request.query_params.get("async") == "true":
            return JSONResponse({"status": "accepted", "feature_views": named}, 202)
        return JSONResponse(None)

    return routes


async def store(act: Callable[[Any], Awaitable[int]], events: list[Event[ObservationMade]]) -> None:
    """The rows are in Postgres and on their way to the log, in one transaction."""
    await act(lambda handlers: handlers.push(events))


def materializable(asked: Materialized, known: dict[str, ViewDeclaration], project: str) -> list[str]:
    """The views that are meant. Raises Unknown for one that is not there."""
    named = sorted(known) if asked.feature_views is None else asked.feature_views
    for name in named:
        if name not in known:
            raise Unknown.view(name, project)
    return named


async def feast_error(request: Request, error: Exception) -> JSONResponse:
    """A JSON string that holds JSON: the client parses it twice. A mistake is plain words, and never 5xx."""
    match error:
        case Unknown():
            said = {"module": "feast.errors", "class": error.name, "message": str(error)}
            return JSONResponse(json.dumps(said), error.status)
        case Mistake():
            return JSONResponse(str(error), 422)
        case RequestValidationError():
            # What was given is not repeated: it may be a secret.
            told = [{name: found[name] for name in ("type", "loc", "msg")} for found in error.errors()]
            return JSONResponse({"detail": told}, 422)
    raise error
