"""What is replayed, from when to when, and what it is held to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from flights import story
from flights.demo.verdict import Expected

EXPECTED: Final = Expected(
    alarm=(datetime(2013, 6, 18, tzinfo=UTC), datetime(2013, 6, 20, tzinfo=UTC)),
    looks=1, gain=0.20, lower=0.05, stale=True, quiet=True,
)  # fmt: skip
EXPECTED_HARD: Final = Expected(
    alarm=(datetime(2013, 6, 26, tzinfo=UTC), datetime(2013, 6, 29, tzinfo=UTC)),
    looks=2, gain=0.06, lower=0.0, stale=False, quiet=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """One replay."""

    document: str
    """The model's declaration."""
    champion_until: datetime
    """What had arrived by then is what the first champion knows."""
    since: datetime
    until: datetime
    fault: str | None = None
    expected: Expected | None = None
    """None: whatever the world brings, the circle has closed and each thing has happened once."""


def scene(*, hard: bool, fault: str | None, until: datetime | None) -> Scene:
    """The replay that was asked for. until: another end than the story's. Raises ValueError where there are no flights then."""
    if fault:
        made = Scene("flight-delay-hard.yaml", story.FAULT_CHAMPION_UNTIL, story.FAULT_FROM, story.FAULT_UNTIL, fault)
    elif hard:
        made = Scene(
            "flight-delay-hard.yaml",
            story.CHAMPION_UNTIL,
            story.REPLAY_FROM,
            story.HARD_REPLAY_UNTIL,
            None,
            EXPECTED_HARD,
        )
    else:
        made = Scene("flight-delay.yaml", story.CHAMPION_UNTIL, story.REPLAY_FROM, story.REPLAY_UNTIL, None, EXPECTED)
    return made if until is None else _until(made, until)


def _until(made: Scene, until: datetime) -> Scene:
    if not made.since < until <= story.YEAR_END:
        raise ValueError(
            f"the replay goes from {made.since:%Y-%m-%d} to {story.YEAR_END:%Y-%m-%d} at most, not to {until:%Y-%m-%d}"
        )
    return Scene(made.document, made.champion_until, made.since, until, made.fault, None)
