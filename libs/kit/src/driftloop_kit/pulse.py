"""Looks after what a service depends on, all the time, so that `/ready` answers from memory."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from driftloop_bus.errors import TryAgain
from driftloop_kit.lagging import Lagging
from driftloop_kit.refusals import refuse_database
from driftloop_kit.schema import behind

if TYPE_CHECKING:
    from driftloop_kit.ledger import PostgresLedger
    from driftloop_kit.organs import Organs
    from driftloop_kit.service import Context

H = TypeVar("H")
LOOK_S: Final = 0.25
# With the second that a ping may take: `/ready` says 503 at most 2 s after Postgres stopped answering.
PING_EACH_S: Final = 0.5
COUNT_EACH_S: Final = 1.0
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
    lagging = Lagging(context, organs)
    lookers = [asyncio.create_task(look) for look in (*_looks(context), lagging.look_for_ever())]
    try:
        while (reason := organs.waiting_for()) and not organs.has_begun():
            context.health.say("start", False, reason)
            await asyncio.sleep(LOOK_S / 5)
        context.health.say("start", True)
        _spare_the_collector()
        while True:
            _say(context, organs)
            lagging.say()
            await asyncio.sleep(LOOK_S)
    finally:
        for looker in lookers:
            looker.cancel()


def _spare_the_collector() -> None:
    """What was made until now is never looked at again, and garbage is looked for less often.

    Modules, routes and pools live as long as the process; walking over them again and again took a quarter of the monitor's
    CPU, a tenth is left.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _say(context: Context[H], organs: Organs[H]) -> None:
    paused = organs.paused()
    for part, reason in {"in": organs.waiting_for(), "out": organs.unsent(), "paused": "; ".join(paused)}.items():
        context.health.limp(part, not reason, reason or "")
    context.telemetry.set("driftloop_paused", len(paused))
    context.telemetry.set("driftloop_tasks", len(asyncio.all_tasks()))
    if context.ledger is not None:
        context.telemetry.set("driftloop_outbox_pending", context.ledger.pending or 0)


def _looks(context: Context[H]) -> list[Coroutine[Any, Any, None]]:
    ledger = context.ledger
    return [_ping_for_ever(context, ledger), _count_for_ever(ledger)] if ledger else []


async def _ping_for_ever(context: Context[H], ledger: PostgresLedger) -> None:
    while True:
        reason = await _said(ledger.ping())
        context.health.say("postgres", reason is None, reason or "")
        await asyncio.sleep(PING_EACH_S)


async def _count_for_ever(ledger: PostgresLedger) -> None:
    """Rows that another instance published are noticed too."""
    while True:
        if ledger.pending:
            # Beside the pings: a long outbox is counted slowly. What stands in the way they tell.
            await _said(ledger.outbox.pending())
        await asyncio.sleep(COUNT_EACH_S)


async def _said(asked: Awaitable[object]) -> str | None:
    try:
        await asked
    except TryAgain as error:
        return error.message
    return None
