"""A handler is called as the runner calls it; the store is the one in memory."""

from __future__ import annotations

from datetime import UTC, datetime

from newborn.domain import Standing
from newborn.handlers import Newborn
from newborn.store import MemoryStandings

from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.event import Event, first


def changed(revision: int) -> Event[DeploymentChanged]:
    data = DeploymentChanged(model="flights", revision=revision, reason="first")
    return first(data, id=f"deployment-{revision}", time=datetime(2013, 6, 15, tzinfo=UTC))


async def test_a_late_deployment_does_not_overwrite_a_newer_one() -> None:
    newborn = Newborn(MemoryStandings())
    for revision in (2, 1):
        assert await newborn.on_deployment_changed(changed(revision)) == []
    assert await newborn.standings.all() == [Standing("flights", 2, None)]
