"""What killed writers left in the artifact store goes: nobody else would ever look at half a blob."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final, Protocol

from driftloop_artifacts import StoreUnavailable
from driftloop_kit.clock import utc_now
from driftloop_kit.telemetry import Telemetry

# Every write has a deadline of a minute; whoever was stopped for so long finds its file gone, and writes again.
ABANDONED_AFTER: Final = timedelta(hours=1)
LOOK_S: Final = 600.0


class Unfinished(Protocol):
    """The store, as far as this needs it."""

    async def sweep(self, *, unfinished_before: datetime) -> int:
        """What was begun and not finished before this time is gone; how many files that were."""


async def keep_swept(artifacts: Unfinished, telemetry: Telemetry) -> None:
    """Half-written blobs of an hour ago are gone, at the start and from then on."""
    while True:
        try:
            if swept := await artifacts.sweep(unfinished_before=utc_now() - ABANDONED_AFTER):
                telemetry.log.info("swept", files=swept)
        except StoreUnavailable as away:
            telemetry.log.warning("not_swept", reason=str(away))
        await asyncio.sleep(LOOK_S)
