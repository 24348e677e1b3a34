"""The loop's own pages for people and tools: what is live, and why."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from driftloop_bus.errors import Refused
from driftloop_contracts.event import rfc3339
from driftloop_kit.service import Context, Reply
from registry.domain.deployment import Deployment
from registry.handlers import Room
from registry.ports import Link, Standing

Json = dict[str, Any]


def router(context: Context[Room]) -> APIRouter:
    """The routes under `/loop`."""
    api = APIRouter(prefix="/loop")

    @api.get("/models")
    async def models() -> Json:
        """Every declared model with what answers for it."""
        return await context.act(_models)

    @api.get("/models/{model}")
    async def state(model: str) -> Json:
        """One model: its declaration and its deployment."""
        return await context.act(lambda room: _state(room, model))

    @api.get("/models/{model}/why")
    async def why(model: str) -> list[Json]:
        """Why the champion is live: from the deployment that made it so, cause by cause, back to the first."""
        return await context.act(lambda room: _why(room, model))

    @api.get("/models/{model}/log")
    async def log(model: str, limit: Annotated[int, Query(ge=1, le=500)] = 100, before: str | None = None) -> Json:
        """What happened to the model, newest first."""
        return await context.act(lambda room: _log(room, model, limit, before))

    @api.get("/events/{event_id}")
    async def event(event_id: str) -> Json:
        """One event of the chain."""
        return await context.act(lambda room: _event(room, event_id))

    return api


async def _models(room: Room) -> Reply[Json]:
    standings = await room.models.standings()
    return Reply({"models": [{"model": name, **_standing(standing)} for name, standing in standings.items()]})


async def _state(room: Room, model: str) -> Reply[Json]:
    declared = await room.models.declared(model)
    if declared is None:
        raise Refused(f"no model {model!r} is declared here", status=404)
    standing = (await room.models.standings(model)).get(model, Standing())
    return Reply(
        {
            "model": model,
            "declaration": json.loads(declared.text),
            "digest": declared.digest,
            "applied_by": declared.applied_by,
            "retired": declared.retired,
            **_standing(standing),
        }
    )


async def _why(room: Room, model: str) -> Reply[list[Json]]:
    live = (await room.models.standings(model)).get(model, Standing()).champion_event
    if live is None:
        raise Refused(f"no version of {model!r} is live", status=404)
    return Reply([_link(link) for link in await room.chain.why(live)])


async def _log(room: Room, model: str, limit: int, before: str | None) -> Reply[Json]:
    links = await room.chain.log(model, limit + 1, _position(before))
    page = {"events": [_link(link) for link in links[:limit]]}
    return Reply(page | ({"next": _token(links[limit - 1])} if len(links) > limit else {}))


async def _event(room: Room, event_id: str) -> Reply[Json]:
    link = await room.chain.find(event_id)
    if link is None:
        raise Refused(
            f"no control event {event_id!r} is known here; outcomes are kept by the feature store", status=404
        )
    return Reply(_link(link))


def _link(link: Link) -> Json:
    return {
        "id": link.id,
        "type": link.type,
        "time": rfc3339(link.time),
        "topic": link.topic,
        "data": json.loads(link.data),
        "cause": link.causation,
    }


def _standing(standing: Standing) -> Json:
    now: Deployment = standing.deployment
    champion, rollout, previous = now.champion, now.rollout, now.previous
    return {
        "revision": now.revision,
        "frozen": now.frozen,
        "champion": champion and {"version": champion.version, "since": rfc3339(champion.since)},
        "champion_event": standing.champion_event,
        "challenger": rollout
        and {
            "version": rollout.version,
            "since": rfc3339(rollout.since),
            "looks": [rfc3339(look) for look in rollout.looks],
            "evidence": list(rollout.evidence),
        },
        "previous": previous and {"version": previous.version, "shadow_until": rfc3339(previous.shadow_until)},
        "ceiling": now.ceiling,
    }


def _token(link: Link) -> str:
    return base64.urlsafe_b64encode(json.dumps([rfc3339(link.time), link.id]).encode()).decode()


def _position(token: str | None) -> tuple[datetime, str] | None:
    if token is None:
        return None
    try:
        time, event_id = json.loads(base64.urlsafe_b64decode(token))
        return datetime.fromisoformat(time), str(event_id)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Refused("`before` is no token of an earlier answer") from error
