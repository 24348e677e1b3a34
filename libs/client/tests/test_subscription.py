"""Subscribing on a real Kafka."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import driftloop
from driftloop_bus.codec import encode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Outgoing
from driftloop_bus.topics import ensure_these
from driftloop_contracts import Topic, first
from driftloop_contracts.loop import DriftDetected
from driftloop_contracts.topics import OUTCOMES
from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack
EXAMPLES = Path(__file__).parents[3] / "contracts" / "examples"


@pytest.fixture
async def topic(kafka: str) -> Topic:
    """As drift.v1, and nobody else's: odd records would be dead letters of the services that other tests run."""
    name = f"drift-{uuid.uuid4().hex[:8]}"
    await ensure_these(kafka, {name: (1, {})})
    return replace(driftloop.DRIFT, name=name)


def alerts(topic: Topic, count: int) -> list[Outgoing]:
    example = json.loads((EXAMPLES / f"{DriftDetected.TYPE}.json").read_text())
    fact = DriftDetected.read(json.dumps(example["data"]).encode())
    events = [first(fact, id=f"alert-{place}", time=fact.detected_at) for place in range(count)]
    return [encode(event, "monitor", topic=topic.name) for event in events]


async def publish(kafka: str, records: list[Outgoing]) -> None:
    log = KafkaLog(kafka, "client-tests")
    await (await log.producer()).send(records)
    await log.close()


async def heard(kafka: str, topic: Topic, count: int, group: str | None) -> list[str]:
    """Ids of the next events; whoever subscribed is gone afterwards."""
    found: list[str] = []
    stream: Any = driftloop.subscribe(topic, group, kafka=kafka)
    async with asyncio.timeout(60):
        async for event in stream:
            found.append(event.id)
            if len(found) == count:
                break
    await stream.aclose()
    return found


async def test_without_a_group_everything_comes_from_the_beginning_each_time(kafka: str, topic: Topic) -> None:
    await publish(kafka, alerts(topic, 3))
    assert await heard(kafka, topic, 3, None) == ["alert-0", "alert-1", "alert-2"]
    assert await heard(kafka, topic, 3, None) == ["alert-0", "alert-1", "alert-2"]


async def test_a_group_goes_on_where_it_stopped(kafka: str, topic: Topic) -> None:
    await publish(kafka, alerts(topic, 4))
    # The second counts as seen once the third is asked for: whoever dies while handling it gets it again.
    assert await heard(kafka, topic, 2, topic.name) == ["alert-0", "alert-1"]
    assert await heard(kafka, topic, 3, topic.name) == ["alert-1", "alert-2", "alert-3"]


async def test_a_subscription_outlives_the_broker(stack: LocalStack, kafka: str, topic: Topic) -> None:
    waiting = asyncio.create_task(heard(kafka, topic, 2, topic.name))
    await publish(kafka, alerts(topic, 1))
    await asyncio.to_thread(stack.restart, "kafka")
    await publish(kafka, alerts(topic, 2)[1:])
    assert await waiting == ["alert-0", "alert-1"]


async def test_a_type_of_a_later_version_is_passed_by(kafka: str, topic: Topic) -> None:
    later, known = alerts(topic, 2)
    kind = tuple((name, b"driftloop.drift.foretold.v1" if name == "ce_type" else text) for name, text in later.headers)
    await publish(kafka, [replace(later, headers=kind), known])
    assert await heard(kafka, topic, 1, None) == ["alert-1"]


async def test_a_record_that_is_no_event_is_told_once(kafka: str, topic: Topic) -> None:
    odd, good = alerts(topic, 2)
    await publish(kafka, [replace(odd, value=b"{"), good])
    stream: Any = driftloop.subscribe(topic, topic.name, kafka=kafka)
    with pytest.raises(driftloop.BadMessage, match="Invalid JSON"):
        await anext(stream)
    assert await heard(kafka, topic, 1, topic.name) == ["alert-1"]


async def test_a_topic_of_packed_records_is_refused(kafka: str) -> None:
    with pytest.raises(ValueError, match=r"outcomes\.v1 carries packed records"):
        await anext(driftloop.subscribe(OUTCOMES, kafka=kafka))
