"""The retrainer's memory: `MemoryRequests` for tests, `PostgresRequests` in one ledger transaction."""

from __future__ import annotations

from typing import Any

from driftloop_contracts import Event
from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.loop import RetrainRequested
from retrainer.domain import State, moved

Request = Event[RetrainRequested]


class MemoryRequests:
    """`Requests` in dictionaries."""

    def __init__(self) -> None:
        self._declarations: dict[str, tuple[ModelDeclaration, str]] = {}
        self._deployments: dict[str, DeploymentChanged] = {}
        self._requests: dict[str, tuple[Request, State]] = {}

    async def put_declaration(self, declared: ModelDeclaration, digest: str) -> None:
        """As the port."""
        self._declarations[declared.model] = (declared, digest)

    async def declaration(self, model: str) -> tuple[ModelDeclaration, str] | None:
        """As the port."""
        return self._declarations.get(model)

    async def models(self) -> set[str]:
        """As the port."""
        return set(self._declarations)

    async def put_deployment(self, deployment: DeploymentChanged) -> None:
        """As the port."""
        known = self._deployments.get(deployment.model)
        if known is None or known.revision < deployment.revision:
            self._deployments[deployment.model] = deployment

    async def deployment(self, model: str) -> DeploymentChanged | None:
        """As the port."""
        return self._deployments.get(model)

    async def add(self, request: Request) -> bool:
        """As the port."""
        if request.id in self._requests:
            return False
        self._requests[request.id] = (request, "waiting")
        return True

    async def get(self, request_id: str) -> tuple[Request, State] | None:
        """As the port."""
        return self._requests.get(request_id)

    async def waiting(self, model: str) -> list[Request]:
        """As the port."""
        found = [request for request, state in self._requests.values() if state == "waiting"]
        return sorted((request for request in found if request.data.model == model), key=lambda one: (one.time, one.id))

    async def gathering(self) -> int:
        """As the port."""
        return sum(state == "gathering" for _, state in self._requests.values())

    async def move(self, request_id: str, state: State) -> None:
        """As the port."""
        request, known = self._requests[request_id]
        self._requests[request_id] = (request, moved(known, state))


class PostgresRequests:
    """`Requests` in the tables of `migrations/`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def put_declaration(self, declared: ModelDeclaration, digest: str) -> None:
        """As the port."""
        await self._connection.execute(
            "INSERT INTO declaration (model, digest, document) VALUES ($1, $2, $3) "
            "ON CONFLICT (model) DO UPDATE SET digest = excluded.digest, document = excluded.document",
            declared.model,
            digest,
            declared.model_dump_json(),
        )

    async def declaration(self, model: str) -> tuple[ModelDeclaration, str] | None:
        """As the port."""
        row = await self._connection.fetchrow("SELECT document, digest FROM declaration WHERE model = $1", model)
        return (ModelDeclaration.model_validate_json(row["document"]), row["digest"]) if row else None

    async def models(self) -> set[str]:
        """As the port."""
        return {row["model"] for row in await self._connection.fetch("SELECT model FROM declaration")}

    async def put_deployment(self, deployment: DeploymentChanged) -> None:
        """As the port."""
        await self._connection.execute(
            "INSERT INTO deployment (model, revision, state) VALUES ($1, $2, $3) ON CONFLICT (model) DO UPDATE "
            "SET revision = excluded.revision, state = excluded.state WHERE deployment.revision < excluded.revision",
            deployment.model,
            deployment.revision,
            deployment.model_dump_json(),
        )

    async def deployment(self, model: str) -> DeploymentChanged | None:
        """As the port."""
        state = await self._connection.fetchval("SELECT state FROM deployment WHERE model = $1", model)
        return DeploymentChanged.read(state.encode()) if state else None

    async def add(self, request: Request) -> bool:
        """As the port."""
        added = await self._connection.fetchval(
            "INSERT INTO request (id, model, time, correlation, tenant, data, state) "
            "VALUES ($1, $2, $3, $4, $5, $6, 'waiting') ON CONFLICT (id) DO NOTHING RETURNING true",
            request.id,
            request.data.model,
            request.time,
            request.correlation or request.id,
            request.tenant,
            request.data.model_dump_json(),
        )
        return bool(added)

    async def get(self, request_id: str) -> tuple[Request, State] | None:
        """As the port."""
        row = await self._connection.fetchrow("SELECT * FROM request WHERE id = $1 FOR UPDATE", request_id)
        return (_request(row), row["state"]) if row else None

    async def waiting(self, model: str) -> list[Request]:
        """As the port."""
        rows = await self._connection.fetch(
            "SELECT * FROM request WHERE model = $1 AND state = 'waiting' ORDER BY time, id FOR UPDATE", model
        )
        return [_request(row) for row in rows]

    async def gathering(self) -> int:
        """As the port."""
        return int(await self._connection.fetchval("SELECT count(*) FROM request WHERE state = 'gathering'"))

    async def move(self, request_id: str, state: State) -> None:
        """As the port."""
        known = await self._connection.fetchval("SELECT state FROM request WHERE id = $1 FOR UPDATE", request_id)
        await self._connection.execute("UPDATE request SET state = $2 WHERE id = $1", request_id, moved(known, state))


def _request(row: Any) -> Request:
    return Event(
        id=row["id"],
        time=row["time"],
        data=RetrainRequested.read(row["data"].encode()),
        correlation=row["correlation"],
        tenant=row["tenant"],
    )
