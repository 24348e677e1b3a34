"""A record that can't be handled, untouched, with the reason in its headers."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Final

from driftloop_bus.errors import BadMessage, DriftloopError
from driftloop_bus.ports import Outgoing, Record
from driftloop_contracts.topics import dead_letters

# The names of our headers; what the record brought itself stands before them.
TOPIC: Final = "dead_topic"
PARTITION: Final = "dead_partition"
OFFSET: Final = "dead_offset"
TIMESTAMP_MS: Final = "dead_timestamp_ms"
GROUP: Final = "dead_group"
VERSION: Final = "dead_service_version"
ATTEMPTS: Final = "dead_attempts"
ERROR: Final = "dead_error"
MESSAGE: Final = "dead_message"
TRACEBACK: Final = "dead_traceback"
NULL: Final = "dead_null"
"""The record had no value at all; the letter's is empty."""
BY_REFERENCE: Final = "dead_by_reference"
"""The letter holds no value: it is read where the record lies, by whoever dares."""
_LONGEST_MESSAGE: Final = 1_000
_LONGEST_TRACEBACK: Final = 4_000


class Killer(DriftloopError):
    """The record was all that its reader was at when it died, twice."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A record with what was wrong with it."""

    record: Record
    error: BaseException
    attempts: int = 1

    def letter(self, group: str, version: str) -> Outgoing:
        """As it goes to `<topic>.<group>.dead`: its own headers stay, ours begin with `dead_`."""
        record, error = self.record, self.error
        by_reference = isinstance(error, Killer)
        about = {
            TOPIC: record.topic,
            PARTITION: str(record.partition),
            OFFSET: str(record.offset),
            TIMESTAMP_MS: str(record.timestamp_ms),
            GROUP: group,
            VERSION: version,
            ATTEMPTS: str(self.attempts),
            ERROR: type(error).__name__,
            MESSAGE: str(error)[:_LONGEST_MESSAGE],
        }
        if not isinstance(error, BadMessage | Killer):
            about[TRACEBACK] = "".join(traceback.format_exception(error))[-_LONGEST_TRACEBACK:]
        if by_reference or record.value is None:
            about[BY_REFERENCE if by_reference else NULL] = "1"
        ours = tuple((name, text.encode()) for name, text in about.items())
        theirs = tuple((name, value or b"") for name, value in record.headers)
        value = b"" if by_reference else record.value or b""
        return Outgoing(dead_letters(record.topic, group), record.key, value, (*theirs, *ours))
