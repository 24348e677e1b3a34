"""Two groups of one topic, one of them with a bug; who sends to them, and where they stand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
from tests.faults import reading
from tests.faults.account import Account
from tests.faults.verdict import Effect

from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.topics import ensure_these
from driftloop_contracts import first
from driftloop_contracts.data_plane import OutcomeObserved
from driftloop_contracts.topics import OUTCOMES, dead_letters
from driftloop_kit.testing import ServiceProcess
from driftloop_local.stack import LocalStack

TOYS: Final = str(Path(__file__).parent / "toys")
START: Final = datetime(2013, 1, 1, tzinfo=UTC)
WITHIN_S: Final = 120.0
_EFFECTS: Final = "SELECT id, key, seq FROM effect ORDER BY place"


@dataclass(frozen=True)
class Sent:
    """A record, and the effect that it must have; the key names what is in order among itself."""

    record: Outgoing
    id: str
    key: str
    seq: int


@dataclass
class Group:
    """One toy with its tables, and its process."""

    kafka: str
    name: str
    owner_url: str
    service: ServiceProcess

    def effects(self) -> list[Effect]:
        """Every row, in the order in which it was written."""
        rows = asyncio.run(_fetched(self.owner_url, _EFFECTS))
        return [Effect(stream(row["key"], row["seq"]), row["id"], row["seq"]) for row in rows]

    def dead(self) -> list[Record]:
        """What lies on its dead-letter topic."""
        return on_topic(self.kafka, dead_letters(OUTCOMES.name, self.name))


def a_group(stack: LocalStack, kafka: str, folder: Path, name: str, **settings: str) -> Group:
    """Its tables and its dead-letter topic are there; nothing runs."""
    asyncio.run(ensure_these(kafka, {dead_letters(OUTCOMES.name, name): (1, {})}))
    database = stack.create_service_database(f"{name}_{os.urandom(4).hex()}")
    migration = ServiceProcess(name, kafka, folder, database.owner_url, words=["migrate"], PYTHONPATH=TOYS)
    migration.start()
    assert migration.process.wait(60) == 0, migration.log_tail()
    service = ServiceProcess(name, kafka, folder, database.login_url, port=None, PYTHONPATH=TOYS, **settings)
    return Group(kafka, name, database.owner_url, service)


def mended(group: Group) -> Group:
    """The same service and tables, without its bug."""
    was = group.service
    service = ServiceProcess(group.name, group.kafka, was.folder, was.database_url, port=was.port, PYTHONPATH=TOYS)
    return Group(group.kafka, group.name, group.owner_url, service)


def outcome(partition: int, seq: int) -> Sent:
    """Half of them are a stranger's JSON, whose id is made up from where it lies."""
    model = f"m{partition}"
    fact = OutcomeObserved(
        prediction_id=f"{model}/{seq}", model=model, value=float(seq), observed_at=START + timedelta(seconds=seq)
    )
    made = encode(first(fact, id=f"event of {model}/{seq}", time=fact.observed_at), "outside")
    headers = () if seq % 4 > 1 else made.headers
    record = Outgoing(made.topic, made.key, made.value, headers, partition)
    return Sent(record, f"{model}/{seq}", stream(model, seq), seq)


def outcomes(partition: int, odd: int) -> list[Sent]:
    """So many odd ones, and even ones: on the first partition odd after odd, which floods it; elsewhere in turn."""
    numbers = list(range(2 * odd))
    return [outcome(partition, seq) for seq in (numbers[1::2] + numbers[::2] if partition == 0 else numbers)]


def stream(model: str, seq: int) -> str:
    """What is in order among itself: those that are handled at once, and those that are redriven."""
    return f"{model}/{'redriven' if seq % 2 else 'at once'}"


def send(kafka: str, account: Account, those: Sequence[Sent]) -> None:
    """They are acked, one after the other, and the account knows."""

    async def sending() -> None:
        log = KafkaLog(kafka, "sender")
        producer = await log.producer()
        for one in those:
            with account.attempt("sender", one.key, one.seq, one.id):
                await producer.send([one.record])
        await log.close()

    asyncio.run(sending())


def on_topic(kafka: str, topic: str) -> list[Record]:
    """Its records, in order within a partition."""
    return asyncio.run(reading.on_log(kafka, topic))


def ends(kafka: str) -> dict[int, int]:
    """Where each partition of the topic ends."""
    found = asyncio.run(reading.ends(kafka, [OUTCOMES.name]))
    return {partition: end for (_, partition), end in found.items()}


def until_at(group: Group, places: dict[int, int]) -> None:
    """Everything before these offsets is handled, and what followed is out."""
    wanted = {str(partition): end for partition, end in places.items()}
    group.service.until_page("/ready", lambda said: at(said) == wanted and not said["outbox_pending"], WITHIN_S)


def at(said: dict[str, Any]) -> object:
    """How far it is."""
    return said["positions"].get(OUTCOMES.name)


async def _fetched(url: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()
