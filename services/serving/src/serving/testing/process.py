"""Serving as a process of its own, on a real Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from driftloop_kit.testing import ServiceProcess


class ServingProcess(ServiceProcess):
    """One process; what it says of its models."""

    def __init__(self, kafka: str, folder: Path) -> None:
        super().__init__("serving", kafka, folder)

    def shown(self, model: str) -> dict[str, Any]:
        """What `/ready` says of the model."""
        return dict(self.ready().get("models", {}).get(model, {}))

    async def eventually_serves(self, model: str, version: str) -> dict[str, Any]:
        """What `/ready` says of the model once this version is its champion."""

        def serves(said: dict[str, Any]) -> bool:
            return said.get("ready") is True and said["models"].get(model, {}).get("champion") == version

        return dict((await self.eventually("/ready", serves))["models"][model])
