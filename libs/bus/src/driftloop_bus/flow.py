"""What holds a partition up, for a while or until a person comes, and how it goes on."""

from __future__ import annotations

from typing import Generic

from driftloop_bus.assignment import Assignment
from driftloop_bus.errors import BadMessage, Fenced, TryAgain
from driftloop_bus.handling import flood_in
from driftloop_bus.observer import Note, Observer
from driftloop_bus.partition import Partition
from driftloop_bus.ports import Consumer, Slice
from driftloop_bus.routes import H


class Flow(Generic[H]):
    """Pauses and lets go on. A partition that is paused goes on with a seek: what was read of it meanwhile is read again."""

    def __init__(self, consumer: Consumer, ours: Assignment[H], observe: Observer) -> None:
        self._consumer, self._ours, self._observe = consumer, ours, observe

    def go_on(self, part: Partition[H]) -> None:
        """Its next slice begins where its claim stands."""
        if part.claim is not None and self._ours.holds(part):
            self._consumer.seek(*part.place, part.claim.next_offset)
            self._consumer.resume([part.place])
            part.paused = False

    def pause(self, part: Partition[H]) -> None:
        """Polls bring nothing of it."""
        self._consumer.pause([part.place])
        part.paused = True

    def postponed(self, part: Partition[H], error: TryAgain) -> None:
        """Something is away: it comes again, however often."""
        part.wait(error.message)
        self.pause(part)
        self._observe(Note("tried_again", *part.place, reason=error.message, error=error))

    def failed(self, part: Partition[H], error: Exception) -> None:
        """A record of its slice is refused, or a handler has a bug: the next attempt narrows it down."""
        part.failures += 1
        if isinstance(error, BadMessage):
            # The record itself is refused: the next attempt, at once, finds and parks it.
            self.pause(part)
            return
        part.wait(f"{type(error).__name__}: {error}")
        self.pause(part)
        self._observe(Note("bug", *part.place, reason=str(error), error=error))

    def fenced(self, part: Partition[H], error: Fenced) -> None:
        """Another has claimed it."""
        self.pause(part)
        self._ours.fenced(part, error.message)
        self._observe(Note("fenced", *part.place, reason=error.message, error=error))

    def flooded(self, part: Partition[H], one: Slice) -> None:
        """Too much of it is bad: it stands still until a person comes."""
        alarm = flood_in(one, part.gauge)
        part.well()
        part.stopped = alarm.message
        self.pause(part)
        self._observe(Note("flooded", *part.place, reason=alarm.message, error=alarm))

    def gap(self, part: Partition[H], reason: str) -> None:
        """Records that were not handled are gone, or the log is another one: it stands still until a person comes."""
        part.stopped = f"{part}: OffsetGap: {reason}; a person must say where to go on"
        self.pause(part)
        self._observe(Note("gap", *part.place, reason=part.stopped))
