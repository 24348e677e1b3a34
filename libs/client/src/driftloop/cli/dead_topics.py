"""Dead-letter topics on a broker: which there are, what lies there, and what is written to their originals' topics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import stamina

from driftloop.addresses import address_of
from driftloop.cli.dead_reading import record_at, records
from driftloop.cli.doors import Refusal
from driftloop_bus.errors import BadMessage, Position, TryAgain
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.kafka.administration import list_topics
from driftloop_bus.letters import SUFFIX, Letter, Mark, Newest, marked, read
from driftloop_bus.ports import Outgoing, Producer, Record

CLIENT: Final = "driftloop-dead"
SENT_WITHIN_S: Final = 60.0


class DeadTopics:
    """The broker, as whoever looks after dead letters needs it. Every method raises Refusal or TryAgain while it is away."""

    def __init__(self, log: KafkaLog, names: Sequence[str]) -> None:
        self._log = log
        self._producer: Producer | None = None
        self.names = names

    async def letters(self) -> list[Letter]:
        """Every letter, without its value, by topic and in the order in which they lie."""
        found: list[Letter] = []
        marks: dict[Position, Mark] = {}
        async for record in records(self._log, self.names):
            match opened(record):
                case Letter() as letter:
                    found.append(letter.emptied())
                case Mark() as mark:
                    marks[Position(record.topic, *mark.letter)] = mark
        found.sort(key=lambda one: (one.place.topic, one.place.partition, one.place.offset))
        return marked(found, marks)

    async def whole(self, wanted: Collection[Letter]) -> AsyncIterator[Letter]:
        """These letters again, with their values; by reference, with the value that lies at the original's place.

        Where that is no longer held, it stays None.
        """
        asked = {one.place: one for one in wanted}
        async for record in records(self._log, sorted({place.topic for place in asked})):
            if record.position in asked and isinstance(letter := opened(record), Letter):
                known = replace(letter, redriven_at=asked[record.position].redriven_at)
                yield await self._looked_up(known) if known.by_reference else known

    async def newest(self, topics: Iterable[str]) -> Newest:
        """The last record of each key of these topics, without its value."""
        found: dict[tuple[str, int, bytes | None], Record] = {}
        async for record in records(self._log, sorted(set(topics))):
            found[record.topic, record.partition, record.key] = replace(record, value=None)
        return found

    async def send(self, sent: Sequence[Outgoing]) -> None:
        """All are acked, sent as often as it takes."""
        self._producer = self._producer or await self._log.producer()
        async for attempt in stamina.retry_context(on=TryAgain, attempts=None, timeout=SENT_WITHIN_S, wait_max=2.0):
            with attempt:
                await self._producer.send(sent)

    async def _looked_up(self, letter: Letter) -> Letter:
        found = await record_at(self._log, letter.original.position)
        return letter if found is None else replace(letter, original=replace(letter.original, value=found.value))


@asynccontextmanager
async def dead_topics(topic: str | None, group: str | None) -> AsyncIterator[DeadTopics]:
    """Those of this topic and group, or all. Raises Refusal when there is none, or the broker is away."""
    address = address_of("kafka")
    log = KafkaLog(address, client_id=CLIENT)
    try:
        yield DeadTopics(log, await _names(address, topic, group))
    except TryAgain as away:
        raise Refusal(f"Kafka at {address}: {away.message}") from away
    finally:
        await log.close()


def opened(record: Record) -> Letter | Mark | None:
    """What lies there; None for what is neither letter nor mark."""
    try:
        return read(record)
    except BadMessage:
        # Nothing that a group of ours has parked: it is nobody's to redrive.
        return None


async def _names(address: str, topic: str | None, group: str | None) -> list[str]:
    there = await list_topics({"bootstrap_servers": address, "client_id": CLIENT})
    found = [name for name in sorted(there) if name.endswith(SUFFIX) and _is_of(name, topic, group)]
    if not found:
        raise Refusal(
            f"no dead letters of {topic or 'any topic'} and {group or 'any group'}: no such topic at {address}"
        )
    return found


def _is_of(name: str, topic: str | None, group: str | None) -> bool:
    of_topic, _, of_group = name.removesuffix(SUFFIX).rpartition(".")
    return bool(of_topic) and topic in (None, of_topic) and group in (None, of_group)
