"""People's doors: commands go to the console as events, questions to the service that knows."""

from __future__ import annotations

import time
from typing import Any, Final

import httpx

from driftloop.addresses import address_of

TIMEOUT_S: Final = 10.0
ANSWER_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.1


class Refusal(Exception):  # what a service said
    """A service said no, in words for people."""


def ask(part: str, path: str) -> Any:
    """GET from a service. Raises Refusal with its words."""
    return _json(httpx.get(f"{address_of(part)}{path}", timeout=TIMEOUT_S))


def command(body: dict[str, Any], *, wait: bool = True) -> dict[str, Any]:
    """The command is an event on the log; waits for the event that answers it. Raises Refusal with the reason."""
    console = address_of("console")
    given = _json(httpx.post(f"{console}/commands", json=body, timeout=TIMEOUT_S))
    if not wait:
        return {"id": given["id"]}
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while time.monotonic() < deadline:
        state = _json(httpx.get(f"{console}/commands/{given['id']}", timeout=TIMEOUT_S))
        if state["state"] == "answered":
            if state["type"].startswith("driftloop.command.refused."):
                raise Refusal(state["reason"])
            return {"id": given["id"], **state}
        time.sleep(LOOK_EVERY_S)
    raise Refusal(
        f"nobody answered command {given['id']} within {ANSWER_WITHIN_S:g} s; it is on the log and will be carried out "
        "once its service runs: see `driftloop status`"
    )


def _json(answer: httpx.Response) -> Any:
    if answer.is_error:
        try:
            said = answer.json().get("error", answer.text)
        except ValueError:
            said = answer.text
        raise Refusal(f"{said} ({answer.status_code} from {answer.request.url})")
    return answer.json()
