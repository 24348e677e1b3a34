"""From a `Service` to a running process."""

from __future__ import annotations

from typing import TypeVar

from driftloop_kit.service import Service

H = TypeVar("H")


async def run_service(service: Service[H]) -> None:
    """Runs until SIGTERM or SIGINT, then drains and returns.

    Opens in order, waits (not ready, with the reason) for Postgres, Kafka and topics, runs consumer, relay, jobs,
    background work and HTTP, closes in reverse.
    """
    raise NotImplementedError(service.name)
