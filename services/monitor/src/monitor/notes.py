"""What this process remembers between transactions: what people are shown on `/ready`, and since when commands wait.

Kept in memory only, nothing is decided by it, but when to give up on a command: whoever starts anew waits anew.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Final

from monitor.domain.state import ModelState
from monitor.domain.watch import OWN_WINDOWS

# Strangers choose names: no more of them than this are remembered.
MAX_UNKNOWN: Final = 100


class Notes:
    """The newest state of each model, and the models that nobody declared."""

    def __init__(self) -> None:
        self._models: dict[str, dict[str, Any]] = {}
        self._unknown: Counter[str] = Counter()
        self._failed: dict[str, str] = {}
        self._waiting: dict[str, datetime] = {}

    def waits_since(self, command_id: str, now: datetime) -> datetime:
        """When the command was first seen waiting, by the clock that says `now`."""
        return self._waiting.setdefault(command_id, now)

    def answered(self, command_id: str) -> None:
        """The command waits no more."""
        self._waiting.pop(command_id, None)

    def kept_out(self, model: str, rows: int) -> None:
        """These rows belong to a model that is not declared, or no more."""
        known = model in self._unknown or len(self._unknown) < MAX_UNKNOWN
        self._unknown[model if known else "(others)"] += rows

    def saw(self, state: ModelState) -> None:
        """The model stands so. Said before the commit: a failed one is soon followed by another."""
        self._unknown.pop(state.model, None)
        self._models[state.model] = {
            "watermark_us": state.clocks.watermark,
            "champion": state.served.version if state.served else None,
            "watch": watch_text(state),
            "retrain": state.pursuit.stage,
            "incidents": len(state.incidents),
            "left_out": dict(state.counts),
        }

    def failed(self, digest: str, reason: str) -> None:
        """The reference can't be read: its version is watched without structural checks."""
        if len(self._failed) < MAX_UNKNOWN:
            self._failed[digest] = reason

    def unread(self) -> dict[str, str]:
        """References that can't be read, with the reason, by digest."""
        return dict(self._failed)

    def models(self) -> dict[str, dict[str, Any]]:
        """By model."""
        return self._models

    def undeclared(self) -> dict[str, int]:
        """Rows that were kept out, by the model that they name."""
        return dict(self._unknown)


def watch_text(state: ModelState) -> str:
    """Where the model's watch stands, for people."""
    if state.retired:
        return "retired"
    if state.watch is None:
        return "no version serves"
    if state.watch.blind:
        return f"version {state.watch.version} brought no losses to hold: {len(state.watch.own)} of {OWN_WINDOWS} windows gathered"
    return f"version {state.watch.version} is held to its back-test"
