"""`driftloop watch [TOPIC]`: events as they come."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from driftloop.cli.doors import Refusal
from driftloop.subscription import subscribe
from driftloop_contracts import BY_NAME, AnyEvent, Topic, rfc3339


def watch(
    topic: Annotated[str, typer.Argument(help="Name of a control topic.")] = "drift.v1",
    group: Annotated[
        str | None, typer.Option(help="Go on where this group stopped; without: from the beginning.")
    ] = None,
) -> None:
    """Print a topic's events, one JSON line each, until Ctrl-C."""
    if topic not in BY_NAME or BY_NAME[topic].open_to_producers:
        control = sorted(name for name, one in BY_NAME.items() if not one.open_to_producers)
        raise Refusal(f"no control topic {topic!r}; there are {', '.join(control)}")
    try:
        asyncio.run(_print(BY_NAME[topic], group))
    except KeyboardInterrupt:
        return


def shown(event: AnyEvent) -> dict[str, Any]:
    """The event with its envelope's names."""
    return {
        "id": event.id, "time": rfc3339(event.time), "type": event.data.TYPE, "causationid": event.causation,
        "correlationid": event.correlation, "data": event.data.model_dump(mode="json", exclude_none=True),
    }  # fmt: skip


async def _print(topic: Topic, group: str | None) -> None:
    async for event in subscribe(topic, group):
        print(json.dumps(shown(event)), flush=True)
