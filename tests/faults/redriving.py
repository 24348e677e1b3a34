"""Two groups of one topic, one of them with a bug; who sends to them; and the command by which a person mends it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
from tests.faults.account import Account
from tests.faults.verdict import Effect

from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.testing import everything
from driftloop_bus.topics import ensure_these
from driftloop_contracts import first
from driftloop_contracts.data_plane import OutcomeObserved
from driftloop_contracts.topics import OUTCOMES, dead_letters
from driftloop_kit.testing import ServiceProcess, bare_environment
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

    async def reading() -> list[Record]:
        log = KafkaLog(kafka, "reader")
        try:
            return await everything(log, topic)
        finally:
            await log.close()

    return asyncio.run(reading())


def ends(kafka: str) -> dict[int, int]:
    """Where each partition of the topic ends."""

    async def looking() -> dict[int, int]:
        log = KafkaLog(kafka, "reader")
        try:
            return {partition: end for (_, partition), end in (await log.end_offsets([OUTCOMES.name])).items()}
        finally:
            await log.close()

    return asyncio.run(looking())


def until_at(group: Group, places: dict[int, int]) -> None:
    """Everything before these offsets is handled, and what followed is out."""
    wanted = {str(partition): end for partition, end in places.items()}
    group.service.until_page("/ready", lambda said: at(said) == wanted and not said["outbox_pending"], WITHIN_S)


def parked_by_the_bug(group: Group) -> int:
    """The buggy service has come to the end; how often a person had to resume it."""
    resumed, end = 0, ends(group.kafka)
    with group.service as buggy:
        buggy.until_ready()
        while said := paused_before(buggy, end):
            assert "20 in a row" in said["degraded"]["paused"]
            buggy.until(lambda: "driftloop_paused 1.0" in buggy.get("/metrics").text, "telling its metrics")
            driftloop(group.kafka, buggy, "dead", "resume", "clerk", OUTCOMES.name, "0")
            resumed += 1
        until_at(group, end)
        assert buggy.stop() == 0
    return resumed


def paused_before(service: ServiceProcess, end: dict[int, int]) -> dict[str, Any] | None:
    """What it says while a partition waits for a person; None once everything is handled."""
    wanted = {str(partition): offset for partition, offset in end.items()}
    said: dict[str, Any] = service.until_page("/ready", lambda now: is_paused(now) or at(now) == wanted, WITHIN_S)
    return said if is_paused(said) else None


def is_paused(said: dict[str, Any]) -> bool:
    """Whether the service says that a partition waits for a person."""
    return "paused" in said.get("degraded", {})


def at(said: dict[str, Any]) -> object:
    """How far it is."""
    return said["positions"].get(OUTCOMES.name)


def is_marked(record: Record, parked: Sequence[dict[str, Any]]) -> bool:
    """Whether its headers name the letter, and the place where it lay before."""
    headers = {name: value.decode() for name, value in record.headers}
    places = {one["letter"]: (one["partition"], one["offset"]) for one in parked}
    told = (int(headers["redriven_partition"]), int(headers["redriven_offset"]))
    return places.get(headers["redriven_letter"]) == told and record.offset > told[1]


def driftloop(kafka: str, service: ServiceProcess, *words: str) -> str:
    """What the command says, as a person runs it."""
    where = {"DRIFTLOOP_KAFKA": kafka, "DRIFTLOOP_CLERK": service.url, "COLUMNS": "200"}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "driftloop"), *words],
        env=bare_environment() | where, capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def interrupted(kafka: str, *words: str) -> None:
    """The command is killed once it has sent something: what it has marked of it by then is chance."""
    before = sum(ends(kafka).values())
    command = [str(Path(sys.executable).parent / "driftloop"), *words]
    with subprocess.Popen(command, env=bare_environment() | {"DRIFTLOOP_KAFKA": kafka}) as person:
        try:
            asyncio.run(asyncio.wait_for(_until_beyond(kafka, before), WITHIN_S))
        finally:
            person.kill()


async def _until_beyond(kafka: str, records: int) -> None:
    log = KafkaLog(kafka, "reader")
    try:
        while sum((await log.end_offsets([OUTCOMES.name])).values()) <= records:  # noqa: ASYNC110  # a process of its own
            await asyncio.sleep(0.001)
    finally:
        await log.close()


def letters(kafka: str, service: ServiceProcess) -> list[dict[str, Any]]:
    """As `driftloop dead ls` lists the clerk's."""
    said = driftloop(kafka, service, "dead", "ls", "--topic", OUTCOMES.name, "--group", "clerk", "--json")
    return [json.loads(line) for line in said.splitlines()]


async def _fetched(url: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()
