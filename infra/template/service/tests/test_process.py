"""The service as a process on a real Kafka and a real Postgres."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

from driftloop_bus.testing import publish
from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.event import first
from driftloop_kit.schema import migrate
from driftloop_kit.testing import running
from driftloop_local.stack import LocalStack


async def test_it_starts_hears_answers_and_ends(stack: LocalStack, kafka: str, tmp_path: Path) -> None:
    database = stack.create_service_database(f"newborn_{uuid.uuid4().hex[:8]}")
    await migrate("newborn", database.owner_url)
    model = f"m{uuid.uuid4().hex[:8]}"
    with running("newborn", kafka, tmp_path, database.login_url) as service:
        await deploy(kafka, model)
        standings = service.until_page("/standings", lambda said: model in [one["model"] for one in said])
        assert {"model": model, "revision": 1, "champion": None} in standings
        assert service.stop() == 0


async def deploy(kafka: str, model: str) -> None:
    event = first(DeploymentChanged(model=model, revision=1, reason="first"), id=model, time=datetime.now(UTC))
    await publish(kafka, "registry", event)
