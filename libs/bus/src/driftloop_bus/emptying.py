"""A broker as good as new: for what is restored into it, and between one file of tests and the next."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from driftloop_bus.kafka.administration import delete_topics, list_topics
from driftloop_bus.topics import ensure_topics

FORGOTTEN_WITHIN_S: Final = 30.0


async def empty_topics(bootstrap: str) -> None:
    """The topics of the catalogue are there and empty, no other topic is, and no group remembers where it stood."""
    common = {"bootstrap_servers": bootstrap, "client_id": "driftloop-topics"}
    if there := await _topics(common):
        await delete_topics(common, there)
        # The broker that is asked hears a moment later what the controller has done.
        async with asyncio.timeout(FORGOTTEN_WITHIN_S):
            while await _topics(common):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.02)
    await ensure_topics(bootstrap)


async def _topics(common: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in await list_topics(common) if not name.startswith("__"))
