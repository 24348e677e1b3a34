"""A record that can't be handled, untouched, with the reason in its headers."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Final

from driftloop_bus.errors import BadMessage
from driftloop_bus.ports import Outgoing, Record
from driftloop_contracts.topics import dead_letters

_LONGEST_MESSAGE: Final = 1_000
_LONGEST_TRACEBACK: Final = 4_000


@dataclass(frozen=True, slots=True)
class Parked:
    """A record with what was wrong with it."""

    record: Record
    error: BaseException
    attempts: int = 1

    def letter(self, group: str, version: str) -> Outgoing:
        """As it goes to `<topic>.<group>.dead`: its own headers stay, ours begin with `dead_`."""
        record, error = self.record, self.error
        about = {
            "dead_topic": record.topic,
            "dead_partition": str(record.partition),
            "dead_offset": str(record.offset),
            "dead_timestamp_ms": str(record.timestamp_ms),
            "dead_group": group,
            "dead_service_version": version,
            "dead_attempts": str(self.attempts),
            "dead_error": type(error).__name__,
            "dead_message": str(error)[:_LONGEST_MESSAGE],
        }
        if not isinstance(error, BadMessage):
            about["dead_traceback"] = "".join(traceback.format_exception(error))[-_LONGEST_TRACEBACK:]
        ours = tuple((name, text.encode()) for name, text in about.items())
        theirs = tuple((name, value or b"") for name, value in record.headers)
        return Outgoing(dead_letters(record.topic, group), record.key, record.value or b"", (*theirs, *ours))
