"""`python -m tests.faults.lease_worker DATABASE_URL FILE`: leases jobs by the kit's workers and writes down when it had which.

Moments are of the machine's steady clock, which every process shares and no faked time changes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any, Final

from driftloop_bus.ports import Transaction
from driftloop_bus.testing import MemoryLog
from driftloop_kit.database import open_database
from driftloop_kit.health import Health
from driftloop_kit.jobs import Job, JobKind
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.service import Context
from driftloop_kit.settings import ServiceSettings
from driftloop_kit.telemetry import Telemetry
from driftloop_kit.workers import Workers

KIND: Final = "counted"
# Shorter than the work, so that leases are renewed in the midst of it.
LEASE_S: Final = 1.0
WORK_S: Final = 2.5


async def main(url: str, path: str) -> None:
    """Works until SIGTERM."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    async def run(context: Context[Any], job: Job) -> dict[str, int]:
        begun = time.monotonic()
        await asyncio.sleep(WORK_S * job.payload["share"])
        line = {"job": job.id, "attempt": job.attempt, "begun": begun, "ended": time.monotonic(), "wall": time.time()}
        os.write(file, (json.dumps(line) + "\n").encode())
        return {"attempt": job.attempt}

    ledger = PostgresLedger(await open_database(url), "leases")
    context: Context[Any] = Context("leases", ServiceSettings(kafka="nowhere:1", http_port=0), MemoryLog(), Health())
    workers = Workers(
        context, ledger, _handlers, [JobKind(KIND, run, parallel=4, lease_s=LEASE_S)], Telemetry("leases")
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, workers.stop)
    await workers.run()
    await ledger.close()


def _handlers(tx: Transaction) -> None:
    """None are needed."""


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
