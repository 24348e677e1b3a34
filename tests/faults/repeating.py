"""Events that come again: at once, a moment later, a day later."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from tests.faults.account import Account
from tests.faults.noting import ENTITIES, Place, fetched, observation, tell

from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing
from driftloop_kit.database import open_database
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.tidying import tidy

VIEW: Final = "repeats"
MOST: Final = 5
A_DAY_LATER: Final = "UPDATE inbox SET seen_at = seen_at - interval '1 day'"


def repeat(place: Place, account: Account, chance: random.Random, rounds: int) -> int:
    """Every event is sent one to five times, some of it a day later, and the noter is killed in between.

    Everything has been handled; returns how many were sent beyond the first of each.
    """
    place.noter.live()
    soon, late = asyncio.run(_send(place.kafka, account, chance, range(rounds // 2)))
    place.noter.kill()
    more_soon, more_late = asyncio.run(_send(place.kafka, account, chance, range(rounds // 2, rounds)))
    place.noter.live()
    place.until_all_is_done()
    asyncio.run(_a_day_passes(place))
    asyncio.run(_again(place.kafka, late + more_late))
    place.until_all_is_done()
    return soon + more_soon + len(late) + len(more_late)


async def _send(kafka: str, account: Account, chance: random.Random, seqs: Sequence[int]) -> tuple[int, list[Outgoing]]:
    """Each once, and copies of those before; how many copies, and those that are still to come."""
    log, late, copies = KafkaLog(kafka, "faults"), list[Outgoing](), 0
    producer = await log.producer()
    for seq in seqs:
        await asyncio.gather(*(tell(producer, account, VIEW, entity, seq) for entity in range(ENTITIES)))
        again = [observation(VIEW, entity, seq) for entity in range(ENTITIES) for _ in range(chance.randrange(MOST))]
        chance.shuffle(again)
        now = chance.randrange(len(again) + 1)
        await producer.send(again[:now])
        copies, late = copies + now, late + again[now:]
    await log.close()
    return copies, late


async def _again(kafka: str, records: Sequence[Outgoing]) -> None:
    log = KafkaLog(kafka, "faults")
    await (await log.producer()).send(records)
    await log.close()


async def _a_day_passes(place: Place) -> None:
    """As the inbox sees it: its ids are a day older, and what is too old goes."""
    await fetched(place.database.owner_url, A_DAY_LATER)
    ledger = PostgresLedger(await open_database(place.database.login_url), "noter")
    await tidy("noter", ledger)
    await ledger.close()
