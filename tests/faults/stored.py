"""Waiting until the history has stored what is on the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from tests.faults.reading import ends

from feature_store.tables import Tables

LOOK_S: Final = 0.2


async def until_stored(tables: Tables, kafka: str, topics: Sequence[str], within_s: float) -> None:
    """Everything that was on these topics is in their tables. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        for (topic, partition), end in (await ends(kafka, topics)).items():
            while await asyncio.to_thread(tables.position, topic, partition) < end:  # noqa: ASYNC110  # a process
                await asyncio.sleep(LOOK_S)
