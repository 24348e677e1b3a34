"""Partitions in aiokafka's words and in ours, and where they end."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from driftloop_bus import ports
from driftloop_bus.kafka.deadlines import in_time


def every_place(counts: Mapping[str, int]) -> list[TopicPartition]:
    """All partitions of topics that have so many."""
    return [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]


def plain(place: TopicPartition) -> ports.TopicPartition:
    """As `ports` says it."""
    return place.topic, place.partition


async def end_offsets(client: AIOKafkaConsumer, places: Collection[TopicPartition]) -> dict[ports.TopicPartition, int]:
    """The offset after the last record of each. Raises TryAgain."""
    found = await in_time(client.end_offsets(list(places)))
    return {plain(place): offset for place, offset in found.items()}
