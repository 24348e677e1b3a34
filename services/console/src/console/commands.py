"""What people post, as the events that it becomes."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from driftloop_bus.errors import Refused
from driftloop_contracts import Event, first, rfc3339
from driftloop_contracts.control_plane import CommandGiven

COMMANDS: Final = ("apply", "approve", "freeze", "retire", "retrain", "rollback", "unfreeze")
NEEDED: Final = {"apply": "document", "approve": "version"}
# Of the request, not of the event's data.
BESIDES: Final = ("id", "effective")
MAX_ID_CHARS: Final = 100


def command_of(body: dict[str, Any], now: datetime) -> Event[CommandGiven]:
    """The command as an event. Raises Refused with what was given and what is allowed.

    `effective` is its event time; without it the command is for now. The same `id` again is the same command.
    """
    kind = body.get("command")
    if kind not in COMMANDS:
        raise Refused(f"command {kind!r} is unknown; allowed are {', '.join(COMMANDS)}", status=422)
    needed = NEEDED.get(kind)
    if needed and not body.get(needed):
        raise Refused(f"command {kind} needs `{needed}`", status=422)
    time = _effective(body, now)
    fields: dict[str, Any] = {"given_by": "local", **{name: body[name] for name in body if name not in BESIDES}}
    if kind == "retrain" and not fields.get("until"):
        fields["until"] = rfc3339(time)
    return first(_fact(fields), id=_identity(body), time=time)


def _effective(body: dict[str, Any], now: datetime) -> datetime:
    given = body.get("effective")
    if given is None:
        return now
    try:
        time = datetime.fromisoformat(given)
    except (ValueError, TypeError) as odd:
        raise Refused(f"effective {given!r} is no RFC 3339 time", status=422) from odd
    if time.tzinfo is None:
        raise Refused(f"effective {given!r} has no offset: write a Z or +00:00 behind it", status=422)
    return time


def _identity(body: dict[str, Any]) -> str:
    given = body.get("id")
    if given is None:
        return str(uuid.uuid4())
    if not isinstance(given, str) or not given.isprintable() or not 0 < len(given) <= MAX_ID_CHARS:
        raise Refused(f"id must be text of 1 to {MAX_ID_CHARS} characters; leave it out to be given one", status=422)
    return given


def _fact(fields: dict[str, Any]) -> CommandGiven:
    allowed = ", ".join(sorted((*CommandGiven.model_fields, *BESIDES)))
    try:
        return CommandGiven.model_validate(fields)
    except ValidationError as odd:
        told = [
            f"no such field {one['loc'][0]}; allowed are {allowed}"
            if one["type"] == "extra_forbidden"
            else f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in odd.errors(include_url=False, include_input=False)
        ]
        raise Refused("; ".join(told), status=422) from odd
