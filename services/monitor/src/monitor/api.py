"""What people may look at: open incidents, losses of closed windows, and where each watch stands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from driftloop_bus.errors import Refused
from monitor.domain.state import Comparison, ModelState
from monitor.handlers.heard import moment_of
from monitor.notes import watch_text
from monitor.ports import Board

Reading = Callable[[], AbstractAsyncContextManager[Board]]


class Incident(BaseModel):
    """An open incident."""

    incident: str
    model: str
    version: str
    kind: str
    name: str
    severity: str
    opened_at: datetime
    event: str
    """Id of the DriftDetected event."""


class Window(BaseModel):
    """A closed window of the version that answers."""

    close: datetime
    loss: float
    outcomes: int
    standard_deviations: float | None
    """Above the mean of the back-test's windows."""
    statistic: float | None
    gate_loss: float | None
    last_24h_rate_loss: float | None


class Comparing(BaseModel):
    """Two versions on the same outcomes."""

    champion: str
    other: str
    since: datetime
    looks: list[datetime]
    looked: int


class Watching(BaseModel):
    """Where a model stands."""

    model: str
    version: str | None
    watch: str
    watermark: datetime
    frozen: bool
    retrain: str
    attempt: int
    outcomes_wanted: int
    rollout: Comparing | None
    guard: Comparing | None
    open_incidents: int
    left_out: dict[str, int]


def router(reading: Reading) -> APIRouter:
    """The routes; each answers from one read-only transaction."""
    routes = APIRouter()

    @routes.get("/models")
    async def models() -> list[Watching]:
        async with reading() as board:
            return [_watching(state) for state in await board.states()]

    @routes.get("/incidents")
    async def incidents() -> list[Incident]:
        async with reading() as board:
            return [incident for state in await board.states() for incident in _incidents(state)]

    @routes.get("/models/{model}")
    async def watching(model: str) -> Watching:
        async with reading() as board:
            return _watching(await _of(board, model))

    @routes.get("/models/{model}/incidents")
    async def incidents_of(model: str) -> list[Incident]:
        async with reading() as board:
            return _incidents(await _of(board, model))

    @routes.get("/models/{model}/losses")
    async def losses(model: str) -> list[Window]:
        async with reading() as board:
            return _windows(await _of(board, model))

    return routes


async def _of(board: Board, model: str) -> ModelState:
    found = [state for state in await board.states() if state.model == model]
    if not found:
        raise Refused(f"model {model} is not declared here", status=404)
    return found[0]


def _incidents(state: ModelState) -> list[Incident]:
    return [
        Incident(
            incident=one.id, model=state.model, version=one.version, kind=one.kind, name=one.name, severity=one.severity,
            opened_at=moment_of(one.opened_us), event=one.by.id,
        )
        for one in state.incidents
    ]  # fmt: skip


def _windows(state: ModelState) -> list[Window]:
    return [
        Window(
            close=moment_of(seen.close_us), loss=seen.mean, outcomes=seen.n, standard_deviations=seen.z,
            statistic=seen.statistic, gate_loss=seen.gate_loss, last_24h_rate_loss=seen.floor,
        )
        for seen in (state.watch.recent if state.watch else ())
    ]  # fmt: skip


def _watching(state: ModelState) -> Watching:
    return Watching(
        model=state.model, version=state.served.version if state.served else None, watch=watch_text(state),
        watermark=moment_of(state.clocks.watermark), frozen=state.frozen, retrain=state.pursuit.stage,
        attempt=state.pursuit.attempt, outcomes_wanted=state.pursuit.needed, rollout=_comparing(state.rollout),
        guard=_comparing(state.guard), open_incidents=len(state.incidents), left_out=dict(state.counts),
    )  # fmt: skip


def _comparing(comparison: Comparison | None) -> Comparing | None:
    if comparison is None:
        return None
    return Comparing(
        champion=comparison.champion, other=comparison.other, since=moment_of(comparison.since_us),
        looks=[moment_of(look) for look in comparison.looks_us], looked=comparison.looked,
    )  # fmt: skip
