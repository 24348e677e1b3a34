"""The service as a process on a real Kafka and a real Postgres."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from pathlib import Path

from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.event import first
from driftloop_kit.schema import migrate
from driftloop_kit.testing import running
from driftloop_local.stack import LocalStack


async def test_it_starts_hears_answers_and_ends(stack: LocalStack, kafka: str, tmp_path: Path) -> None:
    database = stack.create_service_database(f"newborn_{uuid.uuid4().hex[:8]}")
    await migrate("newborn", database.owner_url)
    model = f"m{uuid.uuid4().hex[:8]}"
    environment = {
        "NEWBORN_DATABASE_URL": database.login_url,
        "DRIFTLOOP_KAFKA": kafka,
        "DRIFTLOOP_DATA": str(tmp_path),
    }
    async with running("newborn", tmp_path / "log", environment) as service:
        await service.is_ready()
        await deploy(kafka, model)
        standings: list[dict[str, object]] = []
        async with asyncio.timeout(30):
            while model not in [standing["model"] for standing in standings]:
                standings = (await service.client.get("/standings")).json()
                await asyncio.sleep(0.05)
        assert {"model": model, "revision": 1, "champion": None} in standings
        assert await service.end() == 0


async def deploy(kafka: str, model: str) -> None:
    event = first(DeploymentChanged(model=model, revision=1, reason="first"), id=model, time=datetime.now(UTC))
    log = KafkaLog(kafka, "test")
    await (await log.producer()).send([encode(event, "registry")])
    await log.close()
