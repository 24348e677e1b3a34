"""States, documents and positions in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from driftloop_contracts import Event
from driftloop_contracts.control_plane import CommandGiven, DeploymentChanged
from monitor.domain.state import ModelState
from monitor.store.kept import event_from_json, event_to_json, state_from_json, state_to_json

Connection = Any
"""asyncpg's, within the transaction."""

_LOCK: Final = "SELECT state FROM model_state WHERE model = ANY($1) ORDER BY model FOR UPDATE"
_MADE: Final = "INSERT INTO model_state (model, state) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_PUT: Final = "UPDATE model_state SET state = $2 WHERE model = $1"
_PUT_DEPLOYMENT: Final = """
INSERT INTO deployment (model, event) VALUES ($1, $2) ON CONFLICT (model) DO UPDATE SET event = excluded.event
"""
_PUT_COMMAND: Final = """
INSERT INTO waiting_command (event_id, model, event) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
_WAITING: Final = "SELECT event FROM waiting_command WHERE $1::text IS NULL OR model = $1 ORDER BY came"
_POSITIONS: Final = "SELECT topic, part, next_offset FROM consumer_offset WHERE grp = $1 AND topic = ANY($2)"


@dataclass(frozen=True, slots=True)
class PostgresStates:
    """See `ports.States`."""

    connection: Connection

    async def lock(self, models: Sequence[str]) -> dict[str, ModelState]:
        """See `ports.States`."""
        found = [state_from_json(row["state"]) for row in await self.connection.fetch(_LOCK, list(models))]
        return {state.model: state for state in found}

    async def lock_or_make(self, model: str) -> ModelState:
        """See `ports.States`."""
        await self.connection.execute(_MADE, model, state_to_json(ModelState(model)))
        return (await self.lock([model]))[model]

    async def put(self, state: ModelState) -> None:
        """See `ports.States`."""
        await self.connection.execute(_PUT, state.model, state_to_json(state))


@dataclass(frozen=True, slots=True)
class PostgresDocuments:
    """See `ports.Documents`."""

    connection: Connection

    async def deployment(self, model: str) -> Event[DeploymentChanged] | None:
        """See `ports.Documents`."""
        text = await self.connection.fetchval("SELECT event FROM deployment WHERE model = $1", model)
        return event_from_json(DeploymentChanged, text) if text else None

    async def put_deployment(self, event: Event[DeploymentChanged]) -> None:
        """See `ports.Documents`."""
        await self.connection.execute(_PUT_DEPLOYMENT, event.data.model, event_to_json(event))

    async def waiting_commands(self, model: str | None = None) -> list[Event[CommandGiven]]:
        """See `ports.Documents`."""
        return [event_from_json(CommandGiven, row["event"]) for row in await self.connection.fetch(_WAITING, model)]

    async def put_command(self, event: Event[CommandGiven]) -> None:
        """See `ports.Documents`."""
        await self.connection.execute(_PUT_COMMAND, event.id, event.data.model, event_to_json(event))

    async def drop_command(self, event_id: str) -> None:
        """See `ports.Documents`."""
        await self.connection.execute("DELETE FROM waiting_command WHERE event_id = $1", event_id)


@dataclass(frozen=True, slots=True)
class PostgresBoard:
    """See `ports.Board`."""

    connection: Connection

    async def states(self) -> list[ModelState]:
        """See `ports.Board`."""
        rows = await self.connection.fetch("SELECT state FROM model_state ORDER BY model")
        return [state_from_json(row["state"]) for row in rows]


@dataclass(frozen=True, slots=True)
class PostgresPositions:
    """See `ports.Positions`."""

    connection: Connection
    group: str

    async def read(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """See `ports.Positions`."""
        rows = await self.connection.fetch(_POSITIONS, self.group, list(topics))
        return {(row["topic"], row["part"]): row["next_offset"] for row in rows}
