"""Named places at which a test makes a process die, stop, wait or lose an answer. Unless it is armed, a place does nothing.

`arm("runner.before_commit=exit@3; relay.after_ack=drop_ack")`: the third time the first is reached the process ends as a
power cut would; each time the second is reached the broker's answer is lost. Production refuses to be armed.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from driftloop_bus.errors import TryAgain

NAMES: Final = frozenset(
    {
        "runner.after_fetch", "runner.after_inbox", "runner.before_commit", "runner.after_commit", "runner.before_hint",
        "runner.after_hint", "relay.before_send", "relay.after_ack", "relay.after_mark", "spool.after_frame",
    }
)  # fmt: skip
KILLED: Final = 137
_SPEC: Final = re.compile(r"([a-z.]+\.[a-z_]+)=([a-z_]+)(?::([0-9.]+))?(?:@([0-9]+))?")


class Armed(Exception):
    """A failpoint raised it: a bug, as the code around it sees it."""


@dataclass(slots=True)
class Point:
    """What happens at a place: each time, or at one hit alone."""

    act: Callable[[float], None]
    arg: float
    at_hit: int | None
    hits: int = 0

    def hit(self) -> None:
        """It was reached once more."""
        self.hits += 1
        if self.at_hit in (None, self.hits):
            self.act(self.arg)


_armed: dict[str, Point] = {}


def failpoint(name: str) -> None:
    """The code has come to this place. Returns, unless it is armed."""
    if _armed and name in _armed:
        # Seen from outside, also by whoever waits for it and never sees it: a failpoint that is never hit proves nothing.
        print(f"failpoint {name}", file=sys.stderr, flush=True)
        _armed[name].hit()


def arm(spec: str) -> None:
    """These places act from now on; all others do nothing. Raises as `parse`."""
    points = parse(spec)
    _armed.clear()
    _armed.update(points)


def parse(spec: str) -> dict[str, Point]:
    """The places by name. Raises ValueError for what is not `name=action[:arg][@hit]; ...`, saying what there is.

    Actions: `exit` (as SIGKILL), `stop` (SIGSTOP), `sleep:SECONDS`, `raise`, `drop_ack` (the answer is lost: TryAgain).
    """
    return dict(_point(part.strip()) for part in spec.split(";") if part.strip())


def _point(part: str) -> tuple[str, Point]:
    found = _SPEC.fullmatch(part)
    if found is None:
        raise ValueError(f"failpoint {part!r} is not name=action[:arg][@hit]")
    name, action, arg, at_hit = found.groups()
    if name not in NAMES:
        raise ValueError(f"no failpoint {name!r}; there are {', '.join(sorted(NAMES))}")
    if action not in _ACTIONS:
        raise ValueError(f"no action {action!r}; there are {', '.join(sorted(_ACTIONS))}")
    return name, Point(_ACTIONS[action], float(arg or 0), int(at_hit) if at_hit else None)


def _raise(_: float) -> None:
    raise Armed("as a failpoint was told to")


def _drop_ack(_: float) -> None:
    raise TryAgain("the answer was lost, as a failpoint was told to")


_ACTIONS: Final[dict[str, Callable[[float], None]]] = {
    "exit": lambda _: os._exit(KILLED),
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "sleep": time.sleep,
    "raise": _raise,
    "drop_ack": _drop_ack,
}
