"""Looks after what a service depends on, once a second, so that `/ready` answers from memory."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Final, TypeVar

from driftloop_bus.errors import TryAgain
from driftloop_kit.refusals import refuse_database
from driftloop_kit.schema import behind

if TYPE_CHECKING:
    from driftloop_kit.ledger import PostgresLedger
    from driftloop_kit.organs import Organs
    from driftloop_kit.service import Context

H = TypeVar("H")
LOOK_S: Final = 0.25
PING_EACH_S: Final = 1.0
# `/ready` says 503 at most 2 s after Postgres stopped answering.
PING_WITHIN_S: Final = 1.0
# Objects made before the youngest are looked at, and how many such looks before the older are. Python's own is 700, 10, 10:
# a batch of a thousand events would be walked over a dozen times while it is alive.
COLLECT_AFTER: Final = (20_000, 20, 20)


async def until_database_fits(context: Context[H], ledger: PostgresLedger) -> None:
    """Postgres answers and has the tables that the code needs. Raises ConfigurationRefused where it must not be used."""
    while reason := await _unfit(context, ledger):
        context.health.say("postgres", False, reason)
        await asyncio.sleep(LOOK_S)
    context.health.say("postgres", True)


async def _unfit(context: Context[H], ledger: PostgresLedger) -> str | None:
    try:
        async with ledger.reading() as connection:
            await refuse_database(connection, context.settings.mode)
            return await behind(connection, context.name)
    except TryAgain as error:
        return error.message


async def watch(context: Context[H], organs: Organs[H]) -> None:
    """What the parts wait for is what the service says; until all have run once it is not ready because of it."""
    pinger = asyncio.create_task(_ping_for_ever(context, context.ledger)) if context.ledger else None
    try:
        while (reason := organs.waiting_for()) and not organs.has_begun():
            context.health.say("start", False, reason)
            await asyncio.sleep(LOOK_S / 5)
        context.health.say("start", True)
        _spare_the_collector()
        while True:
            _say(context, organs)
            await asyncio.sleep(LOOK_S)
    finally:
        if pinger:
            pinger.cancel()


def _spare_the_collector() -> None:
    """What was made until now is never looked at again, and garbage is looked for less often.

    Modules, routes and pools live as long as the process; walking over them again and again took a quarter of the monitor's
    CPU, a tenth is left.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _say(context: Context[H], organs: Organs[H]) -> None:
    for part, reason in {"in": organs.waiting_for(), "out": organs.unsent(), "paused": organs.paused()}.items():
        context.health.limp(part, reason is None, reason or "")
    if context.ledger is not None:
        context.telemetry.set("driftloop_outbox_pending", context.ledger.pending or 0)


async def _ping_for_ever(context: Context[H], ledger: PostgresLedger) -> None:
    while True:
        reason = await _silent(ledger)
        context.health.say("postgres", reason is None, reason or "")
        await asyncio.sleep(PING_EACH_S)


async def _silent(ledger: PostgresLedger) -> str | None:
    try:
        async with asyncio.timeout(PING_WITHIN_S):
            # Rows that another instance published are noticed here too.
            await (ledger.outbox.pending() if ledger.pending else ledger.ping())
    except TimeoutError:
        return f"Postgres: no answer within {PING_WITHIN_S:g} s"
    except TryAgain as error:
        return error.message
    return None
