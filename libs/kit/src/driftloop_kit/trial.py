"""A record that may kill its reader is handled by a process of its own first, without effects.

A reader that died while a record was all that it was at may have been killed by anything; a process that was made for one
record, and that nobody knows of, is killed by that record.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Record, Transaction
from driftloop_bus.routes import Plan, plan, reads
from driftloop_bus.work import prepare
from driftloop_kit.database import open_database, plain_url
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.service import Service

H = TypeVar("H")
# Below the longest time between two polls, with room for a start on a busy machine.
WITHIN_S: Final = 45
AWAY: Final = 75
OUT_OF_MEMORY: Final = 137
# Of the machine's memory. A record that needs more would take its reader with it.
MEMORY_SHARE: Final = 0.5
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Record).decode


class Trial:
    """Starts them."""

    def __init__(self, command: Sequence[str]) -> None:
        """command: begins a process that reads the record and calls `try_record`."""
        self._command = command

    async def __call__(self, record: Record) -> bool:
        """Whether the process survived the record. Raises TryAgain where it could not be tried."""
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(WITHIN_S):
                await process.communicate(_encode(record))
        except TimeoutError:
            return False
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == AWAY:
            raise TryAgain(
                f"{record.topic}/{record.partition}: the record at {record.offset} could not be tried by itself"
            )
        # Whatever else it says, it says: a record that is refused, or that a handler stumbles over, has killed nobody.
        return process.returncode != OUT_OF_MEMORY and (process.returncode or 0) >= 0


async def try_record(service: Service[H]) -> None:
    """Handles the record on stdin as the service would, and undoes it. Exits 75 when a dependency is away, 137 out of memory."""
    # Should the reader that waits for this die, this ends by itself.
    signal.alarm(WITHIN_S)
    record = _decode(sys.stdin.buffer.read())
    most_bytes = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * MEMORY_SHARE)
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    assert service.settings.database_url is not None, "a service that handles records has a database"
    database = await open_database(plain_url(service.settings.database_url), doors=1, batches=1)
    ledger = PostgresLedger(database, service.name)
    try:
        async with ledger.transaction() as tx:
            await _handled(service, plan(service.routes, reads(service.name)), tx, record)
            raise _Undone
    except _Undone:
        return
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)
    except TryAgain as error:
        print(f"{service.name}: {error}", file=sys.stderr)
        sys.exit(AWAY)


async def _handled(service: Service[H], planned: Plan[H], tx: Transaction, record: Record) -> None:
    work = prepare(planned, [record])
    if work.records:
        assert service.handlers is not None
        await work.answer(service.handlers(tx), range(len(work.records)))


class _Undone(Exception):
    pass
