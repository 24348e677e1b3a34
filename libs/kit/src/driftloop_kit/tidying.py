"""Old inbox ids, published rows and ended jobs go, some thousand a transaction, as many as there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from driftloop_bus.errors import TryAgain
from driftloop_bus.routes import reads
from driftloop_contracts.topics import FOREVER, TOPICS

if TYPE_CHECKING:
    from driftloop_kit.ledger import PostgresLedger

EACH_S: Final = 600.0
ROWS: Final = 5_000
# Between two transactions others come first.
PAUSE_S: Final = 0.05
# The oldest age at which a spool or an outbox sends again what it sent before.
RESENT_DAYS: Final = 7
KEPT_DAYS: Final = 14
_INBOX: Final = """
DELETE FROM inbox WHERE event_id IN (
    SELECT event_id FROM inbox WHERE seen_at < now() - make_interval(days => $1) ORDER BY seen_at LIMIT $2)
"""
_OUTBOX: Final = """
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox WHERE published_at < now() - make_interval(days => $1) AND topic <> ALL ($3::text[])
    ORDER BY published_at LIMIT $2)
"""
_JOBS: Final = """
DELETE FROM job WHERE id IN (
    SELECT id FROM job WHERE ended_at < now() - make_interval(days => $1) ORDER BY ended_at LIMIT $2)
"""


async def keep_tidy(service: str, ledger: PostgresLedger) -> None:
    """For ever, every ten minutes."""
    while True:
        await asyncio.sleep(EACH_S)
        try:
            await tidy(service, ledger)
        except TryAgain:
            # Nothing is lost: the next round finds the same rows.
            continue


async def tidy(service: str, ledger: PostgresLedger) -> int:
    """What is old enough is gone; how many rows. A hot topic brings more ids between two rounds than one transaction takes."""
    gone = 0
    while some := await _some(service, ledger):
        gone += some
        await asyncio.sleep(PAUSE_S)
    return gone


async def _some(service: str, ledger: PostgresLedger) -> int:
    """At most some thousand rows of each kind are gone; how many."""
    async with ledger.transaction() as tx:
        status = [
            await tx.connection.execute(_INBOX, inbox_days(service), ROWS),
            await tx.connection.execute(_OUTBOX, KEPT_DAYS, ROWS, kept_topics()),
            # A job's row is what makes its id known: it stays as long as the event that may ask for it again.
            await tx.connection.execute(_JOBS, inbox_days(service), ROWS),
        ]
    return sum(int(one.split()[-1]) for one in status)


def inbox_days(service: str) -> int:
    """An id is remembered longer than any topic that the service reads can bring it again."""
    days = [topic.retention_days for topic in reads(service) if topic.retention_days != FOREVER]
    return max(days, default=KEPT_DAYS) + RESENT_DAYS


def kept_topics() -> list[str]:
    """Few rows that are the state itself: what the log lost of them can always be sent again."""
    return [topic.name for topic in TOPICS if topic.cleanup == "compact" and topic.partitions == 1]
