"""The noter as a process, those who send it observations, and what it made of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
from tests.faults.account import Account, Unanswered
from tests.faults.mortal import Mortal
from tests.faults.verdict import Effect

from driftloop_bus.codec import encode
from driftloop_bus.errors import TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Producer
from driftloop_bus.testing import everything
from driftloop_bus.topics import ensure_these
from driftloop_contracts import first
from driftloop_contracts.data_plane import ObservationMade
from driftloop_contracts.topics import OBSERVATIONS, RUNS, dead_letters
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

TOYS: Final = str(Path(__file__).parent / "toys")
LETTERS: Final = dead_letters(OBSERVATIONS.name, "noter")
START: Final = datetime(2013, 1, 1, tzinfo=UTC)
ENTITIES: Final = 8
# A hundred events a second: every failpoint is reached again and again, and two cores have something left.
PAUSE_S: Final = 0.08
_EFFECTS: Final = "SELECT id, key, seq, extract(epoch FROM at)::float AS t FROM effect ORDER BY place"


@dataclass(frozen=True)
class Place:
    """Where one noter runs, and its process."""

    kafka: str
    database: ServiceDatabase
    noter: Mortal

    def effects(self) -> list[tuple[Effect, float]]:
        """Every row in the order in which it was written, with the moment of writing (`time.time`)."""
        rows = asyncio.run(fetched(self.database.owner_url, _EFFECTS))
        return [(Effect(row["key"], row["id"], row["seq"]), row["t"]) for row in rows]

    def relayed(self) -> list[Effect]:
        """What came out on the topic, record by record."""
        return [Effect(**json.loads(value)) for value in asyncio.run(_values(self.kafka, RUNS.name))]

    def parked(self) -> int:
        """How many records it has given up: of these there is nothing wrong with any."""
        return len(asyncio.run(_values(self.kafka, LETTERS)))

    def until_all_is_done(self) -> None:
        """Everything on the topic has its effects, and everything that follows is out."""
        until_all_is_heard(self.noter)


def a_place(stack: LocalStack, kafka: str, folder: Path) -> Place:
    """Its tables are there; nothing runs."""
    database = stack.create_service_database(f"noter_{os.urandom(4).hex()}")
    migration = Mortal("noter", kafka, folder, database.owner_url, words=["migrate"], PYTHONPATH=TOYS)
    migration.live()
    assert migration.process.wait(60) == 0, migration.log_tail()
    asyncio.run(ensure_these(kafka, {LETTERS: (1, {})}))
    return Place(kafka, database, Mortal("noter", kafka, folder, database.login_url, PYTHONPATH=TOYS))


def observation(view: str, entity: int, seq: int) -> Outgoing:
    """The record whose effect is (`view/entity`, seq)."""
    fact = ObservationMade(view=view, entity=str(entity), values={"seq": seq}, time=START + timedelta(seconds=seq))
    return encode(first(fact, id=f"{fact.key()}/{seq}", time=fact.time), "outside")


@contextmanager
def sending(kafka: str, account: Account, view: str) -> Iterator[None]:
    """While the block runs observations are sent, their numbers growing for each key, and the account is told."""
    stopping = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_send(kafka, account, view, stopping)))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


async def _send(kafka: str, account: Account, view: str, stopping: threading.Event) -> None:
    log = KafkaLog(kafka, "faults")
    producer = await log.producer()
    for seq in itertools.count():
        await asyncio.gather(*(tell(producer, account, view, entity, seq) for entity in range(ENTITIES)))
        if stopping.is_set():
            break
        await asyncio.sleep(PAUSE_S)
    await log.close()


async def tell(producer: Producer, account: Account, view: str, entity: int, seq: int) -> None:
    """One observation is sent once, and the account knows what came of it."""
    with account.attempt("sender", f"{view}/{entity}", seq, f"{view}/{entity}/{seq}"):
        try:
            await producer.send([observation(view, entity, seq)])
        except TryAgain as error:
            raise Unanswered(error.message) from error


def first_of_each(effects: Sequence[Effect]) -> list[Effect]:
    """As a reader sees a topic that may repeat itself: what it has heard before it passes over."""
    seen: dict[str, Effect] = {}
    for effect in effects:
        seen.setdefault(effect.id, effect)
    return list(seen.values())


def until_all_is_heard(service: Mortal) -> None:
    """Every observation on the topic has been handled, and everything that follows is out."""
    ends = asyncio.run(_ends(service.kafka))

    def is_done(said: Any) -> bool:
        at = said["positions"].get(OBSERVATIONS.name, {})
        return said["outbox_pending"] == 0 and all(at.get(str(part), 0) >= end for part, end in ends.items())

    service.until_page("/ready", is_done, within_s=180)


async def fetched(url: str, query: str) -> list[Any]:
    """The rows."""
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def _ends(kafka: str) -> dict[int, int]:
    log = KafkaLog(kafka, "faults")
    try:
        return {partition: end for (_, partition), end in (await log.end_offsets([OBSERVATIONS.name])).items()}
    finally:
        await log.close()


async def _values(kafka: str, topic: str) -> list[bytes]:
    log = KafkaLog(kafka, "faults")
    try:
        return [record.value for record in await everything(log, topic) if record.value is not None]
    finally:
        await log.close()
