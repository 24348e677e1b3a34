"""One method a message: from the wire to the domain and back. What follows is returned, nothing is published here."""

from __future__ import annotations

from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.event import AnyEvent, Event
from newborn.domain import Standing, newer
from newborn.ports import Standings


class Newborn:
    """Hears what serves. Lives for one transaction."""

    def __init__(self, standings: Standings) -> None:
        self.standings = standings

    async def on_deployment_changed(self, event: Event[DeploymentChanged]) -> list[AnyEvent]:
        """The newest revision stands."""
        champion = event.data.champion.version if event.data.champion else None
        heard = Standing(event.data.model, event.data.revision, champion)
        if standing := newer(await self.standings.get(heard.model), heard):
            await self.standings.put(standing)
        return []
