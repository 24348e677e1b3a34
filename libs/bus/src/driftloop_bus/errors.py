"""One tree of errors, sorted by what the runner does with them. Anything else is a bug, and its record is parked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


class DriftloopError(Exception):
    """Something that we know by name. The facts say what was given, for a log line or a header."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class TryAgain(DriftloopError):
    """Not now: broker or database away, a declaration not here yet. Rolled back, backed off, the same batch again."""


class BadMessage(DriftloopError):
    """This record can never be handled. It is parked with its reason, and its partition goes on."""

    def __init__(self, message: str, at: Position | None = None, **facts: object) -> None:
        super().__init__(message, **facts)
        self.at = at


class Fenced(DriftloopError):
    """Another instance owns the partition now. Rolled back and dropped."""


class Flood(DriftloopError):
    """Too many records of a partition were parked: it is paused, and a person is needed."""


class Stuck(DriftloopError):
    """This process can't mend itself: it ends with 1, and whoever looks after it starts it again."""


class Refused(DriftloopError):
    """Said to a person or a client at a door, with the HTTP status that fits."""

    def __init__(self, message: str, status: int = 400, **facts: object) -> None:
        super().__init__(message, **facts)
        self.status = status
