"""From a service's door to the app that the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from starlette.exceptions import HTTPException

from driftloop_kit.http.errors import install
from driftloop_kit.http.guard import Guard, Rules, key_digest
from driftloop_kit.http.pages import Pages
from driftloop_kit.http.partitions import Partitions
from driftloop_kit.service import Context, Service
from driftloop_kit.settings import ServiceSettings
from driftloop_kit.telemetry import Telemetry

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

H = TypeVar("H")


def build_app(service: Service[H], context: Context[H], telemetry: Telemetry) -> Guard:
    """Guard, pages, hot paths, partitions, door: in this order."""
    app: ASGIApp = _nowhere if service.api is None else door(service.api(context), context)
    app = Partitions(app, context)
    if service.hot is not None:
        app = service.hot(context, app)
    return Guard(Pages(app, context.health, telemetry), rules(service.settings, service.body_limits), telemetry)


def door(api: FastAPI | APIRouter, context: Context[H]) -> FastAPI:
    """The API as an app whose errors have our shape, unless its protocol has one of its own."""
    from fastapi import FastAPI

    local = context.settings.mode == "local"
    if isinstance(api, FastAPI):
        app = api
    else:
        app = FastAPI(title=context.name, docs_url=None, redoc_url=None, openapi_url="/openapi.json" if local else None)
        app.include_router(api)
    install(app)
    return app


def rules(settings: ServiceSettings, body_limits: dict[str, int]) -> Rules:
    """What the settings let through."""
    return Rules(
        names=frozenset(name.lower() for name in settings.http_names),
        key_sha256=key_digest(settings.api_key.get_secret_value()) if settings.api_key else None,
        body_limits=body_limits,
        has_database=settings.database_url is not None,
    )


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise HTTPException(404, f"there is nothing at {scope['path']}")
