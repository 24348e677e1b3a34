"""Everything that the monitor remembers of one model, and which decision is due next.

Decisions are taken in event-time order, one by one, each when the watermark has passed its time: so neither the sizes of
polls nor the order between the two topics can change what is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from monitor.domain.clock import Clocks
from monitor.domain.link import Link
from monitor.domain.losses import DAY_US
from monitor.domain.policy import NEVER, Pursuit
from monitor.domain.rules import Rules
from monitor.domain.watch import Watch, next_close


@dataclass(frozen=True, slots=True)
class Served:
    """The version that answers."""

    version: str
    since_us: int
    by: Link
    """The deployment that made it champion."""
    reference: str | None = None
    """Digest of the artifact that says how its features were distributed in training."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A version that is compared with the champion at declared times: a challenger, or the one that it replaced."""

    champion: str
    other: str
    since_us: int
    looks_us: tuple[int, ...]
    by: Link
    """The deployment that began it."""
    until_us: int = NEVER
    """From then on the other is no longer scored."""
    looked: int = 0

    @property
    def next_us(self) -> int:
        """The time of the next look."""
        return self.looks_us[self.looked] if self.looked < len(self.looks_us) else NEVER

    @property
    def last(self) -> bool:
        """The next look is the last one."""
        return self.looked + 1 >= len(self.looks_us)


@dataclass(frozen=True, slots=True)
class Incident:
    """One open incident. There is at most one of a signal."""

    id: str
    kind: str
    name: str
    version: str
    severity: str
    opened_us: int
    by: Link
    """The DriftDetected event."""
    quiet: int = 0
    """Blocks in a row in which a structural fault was gone."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model, as far as its topics have been read. Stepped, never changed."""

    model: str
    rules: Rules | None = None
    revision: int = 0
    frozen: bool = False
    retired: bool = False
    clocks: Clocks = field(default_factory=Clocks)
    served: Served | None = None
    watch: Watch | None = None
    rollout: Comparison | None = None
    guard: Comparison | None = None
    pursuit: Pursuit = field(default_factory=Pursuit)
    incidents: tuple[Incident, ...] = ()
    changes: tuple[Link, ...] = ()
    """The newest deployments and declarations: what else changed meanwhile."""
    declarations: tuple[str, ...] = ()
    """Ids of the newest declarations and retirements: one that is heard again changes nothing."""
    outcomes: tuple[int, float] = (0, 0.0)
    """Outcomes of closed windows so far, and their sum: the base rate."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What was left out or evicted, for people."""
    evicted_us: int = 0
    """When old rows were last evicted; at first the time of the model's first row."""

    def open(self, kind: str, name: str) -> Incident | None:
        """The open incident of this signal."""
        return next((i for i in self.incidents if (i.kind, i.name) == (kind, name)), None)


DueKind = Literal["close", "look", "guard", "age", "wake", "evict"]
# A closed window evicts; where none closes (no champion, no outcomes), old rows go at this pace.
EVICT_EACH_US: Final = 7 * DAY_US


@dataclass(frozen=True, slots=True)
class Due:
    """A decision whose time the watermark has passed. Rows that arrived up to and at `at_us` count."""

    at_us: int
    kind: DueKind


def next_due(state: ModelState) -> Due | None:
    """The earliest decision that is due; of one moment, windows first: they are what the others look at."""
    due = min(_times(state), key=lambda one: one.at_us, default=None)
    return due if due and due.at_us < state.clocks.watermark else None


def evicted_before(quiet_us: int) -> int:
    """The time of eviction after which the next is due at the last moment of its pace up to this one."""
    return (quiet_us // EVICT_EACH_US - 2) * EVICT_EACH_US


def _times(state: ModelState) -> list[Due]:
    if state.rules is None or state.retired:
        return []
    due: list[Due] = []
    if state.watch:
        due.append(Due(next_close(state.watch, state.rules), "close"))
    if state.rollout:
        due.append(Due(state.rollout.next_us, "look"))
    if state.guard:
        due.append(Due(min(state.guard.next_us, state.guard.until_us), "guard"))
    if state.served and state.rules.also_every_us:
        due.append(Due(state.served.since_us + (state.pursuit.ages + 1) * state.rules.also_every_us, "age"))
    if state.pursuit.stage in ("waiting", "trained"):
        due.append(Due(state.pursuit.not_before_us, "wake"))
    if state.evicted_us:
        due.append(Due((state.evicted_us // EVICT_EACH_US + 2) * EVICT_EACH_US, "evict"))
    return due
