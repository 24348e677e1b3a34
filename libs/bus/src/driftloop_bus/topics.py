"""The topics of the catalogue on a broker: made, compared, never by hand.

`python -m driftloop_bus.topics ADDRESS [REPLICATION]` makes them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from driftloop_bus.errors import DriftloopError, TryAgain
from driftloop_bus.kafka import administration
from driftloop_contracts.topics import TOPICS, dead_letter_topics, on_demand

Wanted = Mapping[str, tuple[int, Mapping[str, str]]]
"""Topic to partitions and settings."""

# A dead letter is the record as it was, with some headers more than the broker's usual limit may leave room for.
_DEAD_LETTER_BYTES: Final = "2097152"
_DAY_MS: Final = 86_400_000
_LED_WITHIN_S: Final = 30.0
# With so many copies an ack means that two have it, whoever dies next. On the topic: a broker's own default may be dropped.
_MANY_COPIES: Final = 3
_DURABLE: Final = {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}


def catalogue() -> dict[str, tuple[int, dict[str, str]]]:
    """Every topic that Driftloop needs, dead letters included."""
    made: dict[str, tuple[int, dict[str, str]]] = {topic.name: (topic.partitions, topic.config()) for topic in TOPICS}
    for name, config in dead_letter_topics().items():
        made[name] = (1, {**config, "max.message.bytes": _DEAD_LETTER_BYTES})
    return made


async def ensure_topics(
    bootstrap: str, replication: int = 1, *, security: Mapping[str, Any] | None = None
) -> list[str]:
    """Every topic of the catalogue exists, with a leader and as the catalogue says. Returns the names that were made.

    Raises TryAgain while the broker is away, DriftloopError when a topic is there but differs: changing it may lose events,
    so a person does that.
    """
    return await ensure_these(bootstrap, catalogue(), replication, security=security)


async def ensure_on_demand(
    bootstrap: str, model: str, replication: int = 1, *, security: Mapping[str, Any] | None = None
) -> str:
    """The small topic of one model's retrain requests exists. Returns its name; raises as `ensure_topics`."""
    name = on_demand(model)
    config = {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS), "message.timestamp.type": "LogAppendTime"}
    await ensure_these(bootstrap, {name: (1, config)}, replication, security=security)
    return name


async def missing_topics(bootstrap: str, *, security: Mapping[str, Any] | None = None) -> list[str]:
    """Names of the catalogue's topics that the broker does not have. Raises TryAgain while it is away."""
    there = await administration.list_topics(_common(bootstrap, security))
    return sorted(set(catalogue()) - there)


async def differing_topics(bootstrap: str, *, security: Mapping[str, Any] | None = None) -> list[str]:
    """One line per difference between the catalogue and the topics that exist. Raises TryAgain as `missing_topics`."""
    common = _common(bootstrap, security)
    there = await administration.list_topics(common)
    return await _differences(common, {name: wanted for name, wanted in catalogue().items() if name in there})


async def ensure_these(
    bootstrap: str, wanted: Wanted, replication: int = 1, *, security: Mapping[str, Any] | None = None
) -> list[str]:
    """As `ensure_topics`, for topics of one's own choice. With three copies or more, what is acked is in two of them."""
    common = _common(bootstrap, security)
    if replication >= _MANY_COPIES:
        wanted = {name: (count, {**config, **_DURABLE}) for name, (count, config) in wanted.items()}
    there = await administration.list_topics(common)
    made: list[str] = []
    if missing := {name: one for name, one in wanted.items() if name not in there}:
        made = await administration.create_topics(common, missing, replication)
    await _until_led(common, wanted)
    if differences := await _differences(common, wanted):
        raise DriftloopError("topics differ from the catalogue: " + "; ".join(differences))
    return made


async def _until_led(common: Mapping[str, Any], wanted: Wanted) -> None:
    """A topic that was just made has no leader for a moment."""
    deadline = time.monotonic() + _LED_WITHIN_S
    while True:
        try:
            await administration.partition_counts(common, list(wanted))
        except TryAgain:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def _differences(common: Mapping[str, Any], wanted: Wanted) -> list[str]:
    counts = await administration.partition_counts(common, list(wanted))
    settings = await administration.topic_settings(common, list(wanted))
    found = []
    for name, (count, config) in wanted.items():
        found += [f"{name} has {counts[name]} partitions, not {count}"] if counts[name] != count else []
        held = settings.get(name, {})
        found += [
            f"{name}: {key} is {held.get(key)}, not {value}" for key, value in config.items() if held.get(key) != value
        ]
    return found


def _common(bootstrap: str, security: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"bootstrap_servers": bootstrap, "client_id": "driftloop-topics", **(security or {})}


def main(words: Sequence[str]) -> int:
    """The topics are there. 0; 1 with the reason where they are not; 64 for words that can't be understood."""
    if not 1 <= len(words) <= 2 or not words[-1][-1:].isdigit():
        sys.stderr.write("python -m driftloop_bus.topics ADDRESS [REPLICATION]\n")
        return 64
    try:
        made = asyncio.run(ensure_topics(words[0], int(words[1]) if words[1:] else 1))
    except DriftloopError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"made: {', '.join(made) or 'none, all were there'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
