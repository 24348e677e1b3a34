"""Topics on the broker: which are there, with how many partitions and which settings; and new ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from driftloop_bus.errors import DriftloopError, TryAgain
from driftloop_bus.kafka.deadlines import REQUEST_MS, SEND_DEADLINE_S, in_time

EXISTS_ALREADY: Final = 36
UNKNOWN_TOPIC: Final = 3


async def partition_counts(common: Mapping[str, Any], topics: Sequence[str]) -> dict[str, int]:
    """Topic to number of partitions, every one with a leader. Raises TryAgain that names what is missing."""
    async with _admin(common) as admin:
        found = await in_time(admin.describe_topics(list(topics)))
    counts = {one["topic"]: len(one["partitions"]) for one in found if _is_led(one)}
    if missing := [topic for topic in topics if topic not in counts]:
        raise TryAgain(f"topics are missing: {', '.join(missing[:10])}", missing=missing)
    return counts


async def create_topics(
    common: Mapping[str, Any], wanted: Mapping[str, tuple[int, Mapping[str, str]]], copies: int
) -> list[str]:
    """The topics (partitions, settings) exist; returns those that were made. Raises DriftloopError when one is refused."""
    async with _admin(common) as admin:
        new = [NewTopic(name, count, copies, topic_configs=dict(config)) for name, (count, config) in wanted.items()]
        answer = await in_time(admin.create_topics(new), SEND_DEADLINE_S)
    # Nothing is raised for a topic that is refused: the errors stand in the answer.
    refused = {name: code for name, code, *_ in answer.topic_errors if code not in (0, EXISTS_ALREADY)}
    if refused:
        raise DriftloopError(f"the broker refused to make topics (name: Kafka's error code): {refused}")
    return [name for name, code, *_ in answer.topic_errors if code == 0]


async def delete_topics(common: Mapping[str, Any], topics: Sequence[str]) -> None:
    """The topics are gone, with all that was in them. Raises DriftloopError when the broker refuses one."""
    async with _admin(common) as admin:
        answer = await in_time(admin.delete_topics(list(topics)), SEND_DEADLINE_S)
    if refused := {name: code for name, code in answer.topic_error_codes if code not in (0, UNKNOWN_TOPIC)}:
        raise DriftloopError(f"the broker refused to delete topics (name: Kafka's error code): {refused}")


async def list_topics(common: Mapping[str, Any]) -> set[str]:
    """Every topic of the broker. Raises TryAgain while it is away."""
    async with _admin(common) as admin:
        return set(await in_time(admin.list_topics()))


async def topic_settings(common: Mapping[str, Any], topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """Every setting of these topics, as it holds. Raises TryAgain while the broker is away."""
    async with _admin(common) as admin:
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        answers = await in_time(admin.describe_configs(asked), SEND_DEADLINE_S)
    return {
        name: {entry[0]: entry[1] for entry in entries} for one in answers for _, _, _, name, entries in one.resources
    }


@asynccontextmanager
async def _admin(common: Mapping[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**common, request_timeout_ms=REQUEST_MS)
    try:
        await in_time(client.start())
        yield client
    finally:
        await client.close()


def _is_led(described: Mapping[str, Any]) -> bool:
    return described["error_code"] == 0 and all(one["leader"] >= 0 for one in described["partitions"])
