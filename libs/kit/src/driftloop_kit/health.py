"""What a service says about itself: what it waits for, what limps, and the facts that tools read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Health:
    """Told by the parts whenever something changes; asked by `/ready` at any time, without touching a dependency."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._degraded: dict[str, str] = {}
        self._facts: dict[str, Callable[[], Any]] = {}

    def say(self, part: str, ok: bool, reason: str = "") -> None:
        """The part is as it should be, or the service is not ready because of it. The reason is for people."""
        if ok:
            self._reasons.pop(part, None)
        else:
            self._reasons[part] = reason or "not ready"

    def limp(self, part: str, ok: bool, reason: str = "") -> None:
        """As `say`, but the service stays ready: it can do its work without the part for a while."""
        if ok:
            self._degraded.pop(part, None)
        else:
            self._degraded[part] = reason or "away"

    def fact(self, name: str, value: Callable[[], Any]) -> None:
        """`/ready` shows what the callable returns (anything that JSON can say). It must be quick and must not raise."""
        self._facts[name] = value

    @property
    def ready(self) -> bool:
        """No part has said otherwise."""
        return not self._reasons

    def report(self) -> dict[str, Any]:
        """What `/ready` answers."""
        shown: dict[str, Any] = {"ready": self.ready, "reasons": dict(self._reasons)}
        if self._degraded:
            shown["degraded"] = dict(self._degraded)
        return shown | {name: value() for name, value in self._facts.items()}
