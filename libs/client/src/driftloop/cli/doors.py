"""People's doors: commands go to the console as events, questions to the service that knows."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

import httpx
import stamina

from driftloop.addresses import address_of, credentials

TIMEOUT_S: Final = 10.0
# A broker that was killed is back within this time.
TAKEN_WITHIN_S: Final = 15.0
ANSWER_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.1
REFUSED: Final = "driftloop.command.refused.v1"


class Refusal(Exception):  # what a service said
    """A service said no, in words for people."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def ask(part: str, path: str) -> Any:
    """GET from a service. Raises Refusal with its words, Unknown when nobody says where it answers."""
    with _client(part) as client:
        return _json(client.get(path))


def tell(part: str, path: str) -> Any:
    """POST to a service, without a body. Raises as `ask`."""
    with _client(part) as client:
        return _json(client.post(path))


def command(body: dict[str, Any], *, wait: bool = True) -> dict[str, Any]:
    """The command is an event on the log; waits for the event that answers it.

    Returns its `id`, and of the answer `event_id`, `type` and `reason`. Given again with the same `id` it is one command,
    so a broker that is away for a moment is waited for. Raises Refusal with the reason.
    """
    whole = {"id": str(uuid.uuid4()), **body}
    with _client("console") as client:
        given: dict[str, Any] = _given(client, whole)
        return _answer(client, given["id"]) if wait else given


def _given(client: httpx.Client, body: dict[str, Any]) -> Any:
    def is_passing(error: Exception) -> bool:
        return isinstance(error, httpx.TransportError) or (isinstance(error, Refusal) and error.status == 503)

    for attempt in stamina.retry_context(on=is_passing, attempts=None, timeout=TAKEN_WITHIN_S, wait_max=1.0):
        with attempt:
            return _json(client.post("/commands", json=body))
    raise AssertionError("the last attempt raises")


def _answer(client: httpx.Client, command_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while time.monotonic() < deadline:
        state = _json(client.get(f"/commands/{command_id}"))
        if state["state"] == "answered":
            if state["type"] == REFUSED:
                raise Refusal(state["reason"])
            return {**state, "id": command_id}
        time.sleep(LOOK_EVERY_S)
    raise Refusal(
        f"nobody answered command {command_id} within {ANSWER_WITHIN_S:g} s; it is on the log and will be carried out "
        "once its service runs: see `driftloop status`"
    )


def _client(part: str) -> httpx.Client:
    # No proxy stands between us and our own services.
    return httpx.Client(base_url=address_of(part), headers=credentials(), timeout=TIMEOUT_S, trust_env=False)


def _json(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise Refusal(f"{_said(answer)} ({answer.status_code} from {answer.request.url})", answer.status_code)
    return answer.json()


def _said(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:300]
    return str(body.get("error", body) if isinstance(body, dict) else body)
