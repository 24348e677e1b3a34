"""Which method hears what. A method gets one event, or one batch of a hot topic, and returns what follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from driftloop_bus.batches import AnyBatch
from driftloop_bus.ports import Outgoing
from driftloop_contracts import BY_NAME, TOPICS, AnyEvent, Event, Fact, Topic

H = TypeVar("H")
F = TypeVar("F", bound=Fact)
B = TypeVar("B", bound=AnyBatch)
Follows = Sequence[AnyEvent | Outgoing]
"""What follows: events, which the runner puts on their topics, or records that are encoded already."""
Answer = Awaitable[Follows | None] | Follows | None


@dataclass(frozen=True, slots=True)
class Route(Generic[H]):
    """One line of a service's composition root. Made by `on`, `on_batch`, `on_every`, `every`."""

    method: Callable[[H, Any], Answer]
    topic: Topic | None = None
    fact: type[Fact] | None = None
    batch: bool = False
    seconds: float | None = None


def on(fact: type[F], method: Callable[[H, Event[F]], Answer], *, topic: Topic | None = None) -> Route[H]:
    """The method hears each such event, on every topic that carries it and that the service reads, or on this one."""
    return Route(method, topic=topic, fact=fact)


def on_batch(topic: Topic, method: Callable[[H, B], Answer]) -> Route[H]:
    """The method hears a hot topic in batches."""
    return Route(method, topic=topic, batch=True)


def on_every(topic: Topic, method: Callable[[H, AnyEvent], Answer]) -> Route[H]:
    """The method hears every event of the topic, whatever its type."""
    return Route(method, topic=topic)


def every(seconds: float, method: Callable[[H, datetime], Answer]) -> Route[H]:
    """The method is called so often by the wall clock: for leases and process timeouts, never for a decision."""
    return Route(method, seconds=seconds)


@dataclass(slots=True)
class Plan(Generic[H]):
    """Routes sorted by topic."""

    batches: dict[str, Callable[[H, Any], Answer]] = field(default_factory=dict)
    events: dict[str, list[Route[H]]] = field(default_factory=dict)
    ticks: list[Route[H]] = field(default_factory=list)

    def topics(self) -> list[str]:
        """Every topic that somebody hears."""
        return sorted({*self.batches, *self.events})


def reads(service: str) -> list[Topic]:
    """The topics that the catalogue lets the service read."""
    return [topic for topic in TOPICS if service in topic.readers]


def plan(routes: Sequence[Route[H]], readable: Sequence[Topic]) -> Plan[H]:
    """Raises LookupError when a fact travels on no readable topic, ValueError when a topic is heard in both ways."""
    made: Plan[H] = Plan()
    for route in routes:
        if route.seconds is not None:
            made.ticks.append(route)
        elif route.batch and route.topic is not None:
            _add_batch(made, route, route.topic.name)
        else:
            for topic in _heard_on(route, readable):
                made.events.setdefault(topic.name, []).append(route)
    if both := sorted(made.batches.keys() & made.events.keys()):
        raise ValueError(f"heard in batches and event by event: {both}; choose one")
    return made


def _add_batch(made: Plan[H], route: Route[H], topic: str) -> None:
    if topic in made.batches:
        raise ValueError(f"{topic} has two batch methods; one is allowed")
    made.batches[topic] = route.method


def _heard_on(route: Route[H], readable: Sequence[Topic]) -> list[Topic]:
    if route.topic is not None:
        return [route.topic]
    found = [topic for topic in readable if route.fact in topic.events]
    if not found and route.fact is not None:
        carried = [topic.name for topic in TOPICS if route.fact in topic.events]
        raise LookupError(f"{route.fact.__name__} travels on {carried}; none is among the topics read here")
    return found


def is_compacted(topic: str) -> bool:
    """Whether the topic holds state: its readers go by revision, not by the inbox."""
    return topic in BY_NAME and BY_NAME[topic].cleanup == "compact"
