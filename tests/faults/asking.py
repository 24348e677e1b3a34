"""A client that asks a model for predictions all the time, and knows what each answer must be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx

PAUSE_S = 0.02
ANSWER_S = 5.0


@dataclass
class Asker:
    """What was answered so far. `expected` gives the score that the one allowed version gives to a wind."""

    url: str
    version: str
    expected: dict[float, float]
    asked: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Asks until told to stop."""
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
            while not self.stop.is_set():
                for wind in self.expected:
                    await self._ask(client, wind)
                    await asyncio.sleep(PAUSE_S)

    async def _ask(self, client: httpx.AsyncClient, wind: float) -> None:
        self.asked += 1
        try:
            answer = await client.post(self.url, json={"features": {"wind": wind, "origin": "EWR"}})
        except httpx.TransportError as broken:
            self.failed.append(f"{type(broken).__name__}: {broken}")
            return
        if answer.status_code != httpx.codes.OK:
            self.failed.append(answer.text)
            return
        self._check(answer.json(), wind)

    def _check(self, said: dict[str, Any], wind: float) -> None:
        if said["version"] != self.version or abs(said["score"] - self.expected[wind]) > 1e-12:
            self.wrong.append(f"version {said['version']} says {said['score']} to {wind}")
