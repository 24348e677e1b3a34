"""The same observations in order and out of order, and the table that the feature store made of each."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.faults.noting import fetched
from tests.faults.reading import on_log

from driftloop_bus.codec import decode, encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing
from driftloop_contracts import first
from driftloop_contracts.data_plane import FeaturesUpdated, ObservationMade
from driftloop_contracts.topics import FEATURES

START: Final = datetime(2013, 1, 1, tzinfo=UTC)
WITHIN: Final = 1_000
ENTITIES: Final = 200
IN_ORDER: Final = "in-order"
SHUFFLED: Final = "shuffled"
# Of so many in a row some share their time, of these some their revision: then the id alone decides.
ALIKE: Final = 1_200


def observations(view: str, count: int, chance: random.Random) -> list[Outgoing]:
    """For each view the same, but for its name and the order: that of the numbers, or mixed within a thousand."""
    facts = [_fact(view, number) for number in range(count)]
    records = [
        encode(first(fact, id=f"{view}/{number:09d}", time=fact.time), "outside") for number, fact in enumerate(facts)
    ]
    return records if view == IN_ORDER else shuffled(records, chance)


def shuffled(records: Sequence[Outgoing], chance: random.Random) -> list[Outgoing]:
    """Each thousand in an order of its own."""
    thousands = [list(records[start : start + WITHIN]) for start in range(0, len(records), WITHIN)]
    for some in thousands:
        chance.shuffle(some)
    return [record for some in thousands for record in some]


def _fact(view: str, number: int) -> ObservationMade:
    return ObservationMade(
        view=view,
        entity=f"entity {number % ENTITIES}",
        values={"reading": float(number), "sky": None if number % 7 else "clear"},
        time=START + timedelta(seconds=number // ALIKE),
        revision=number // ENTITIES % 3,
    )


async def send(kafka: str, records: Sequence[Outgoing]) -> None:
    """All of them are on the topic, in this order within a partition."""
    log = KafkaLog(kafka, "faults")
    producer = await log.producer()
    for start in range(0, len(records), WITHIN):
        await producer.send(records[start : start + WITHIN])
    await log.close()


def table_of(url: str, view: str) -> dict[str, Any]:
    """Entity to values, time and revision, as the feature store keeps them."""
    rows = asyncio.run(fetched(url, f"SELECT entity, values, time, revision FROM online WHERE view = '{view}'"))
    return {row["entity"]: [json.loads(row["values"]), row["time"].isoformat(), row["revision"]] for row in rows}


def told_of(kafka: str, view: str) -> dict[str, Any]:
    """The same as readers of the compacted topic have it: the last of each key."""
    events = [decode(record) for record in asyncio.run(on_log(kafka, FEATURES.name)) if record.value is not None]
    facts = [event.data for event in events if isinstance(event.data, FeaturesUpdated) and event.data.view == view]
    return {fact.entity: [fact.values, fact.time.isoformat(), fact.revision] for fact in facts}


def hash_of(table: dict[str, Any]) -> str:
    """Equal for equal tables."""
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]
