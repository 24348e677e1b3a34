"""Hears every control topic, and hands people's commands to the log."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from console.board import Board
from driftloop_bus.errors import Refused
from driftloop_contracts import AnyEvent, Event, first, topic_for
from driftloop_contracts.control_plane import CommandGiven

COMMANDS = ("apply", "retire", "retrain", "freeze", "unfreeze", "approve", "rollback")
NEEDS = {"apply": "document", "approve": "version"}


class Console:
    """Keeps nothing that a replay would not bring back."""

    def __init__(self, board: Board) -> None:
        self.board = board

    async def on_event(self, event: AnyEvent) -> list[AnyEvent]:
        """The board shows it."""
        service = event.source.removeprefix("/services/")
        try:
            topic = topic_for(type(event.data), service).name
        except LookupError:
            topic = "?"
        self.board.hear(event, topic)
        return []


def command_of(body: dict[str, Any], now: datetime) -> Event[CommandGiven]:
    """The command as an event. Raises Refused with what was given and what is allowed.

    `effective` is its event time; without it the command is for now.
    """
    kind = body.get("command")
    if kind not in COMMANDS:
        raise Refused(f"command {kind!r} is unknown; allowed are {', '.join(COMMANDS)}", status=422)
    needed = NEEDS.get(str(kind))
    if needed and not body.get(needed):
        raise Refused(f"command {kind} needs `{needed}`", status=422)
    effective = body.get("effective")
    fields = {name: value for name, value in body.items() if name not in ("effective", "id")}
    try:
        data = CommandGiven.model_validate(
            {"given_by": "local", "until": rounded(now) if kind == "retrain" else None, **fields}
        )
        time = datetime.fromisoformat(effective) if effective else now
    except ValidationError as odd:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in odd.errors())
        raise Refused(told, status=422) from odd
    except ValueError as odd:
        raise Refused(f"effective {effective!r} is no RFC 3339 time", status=422) from odd
    if time.tzinfo is None:
        raise Refused(f"effective {effective!r} has no offset: write a Z or +00:00 behind it", status=422)
    return first(data, id=str(body.get("id") or uuid.uuid4()), time=time)


def rounded(moment: datetime) -> str:
    """The moment for the wire."""
    return moment.astimezone(UTC).isoformat()
