"""What was promised against what is there. Pure: the judge of every check, and seen to bite in `test_harness.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

from tests.faults.account import Line

NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that has happened once, where people look for it. In the order in which it stands there."""

    key: str
    id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of ids, over all clients."""

    acked: int
    refused: int
    indefinite: int
    lost: int
    """Acked, and nowhere."""
    dup: int
    """Effects beyond the first of an id."""
    phantom: int
    """Effects that nobody has asked for, or that were refused."""
    order_violations: int
    """Effects of a key that stand before one which was asked for earlier."""
    culprits: tuple[str, ...] = ()
    """The first few that were lost, doubled or invented, by name: where to begin to look."""

    def __add__(self, other: Verdict) -> Verdict:
        """Of two parts of one check."""
        return Verdict(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def holds(self) -> bool:
        """Nothing is lost and nothing happened twice, unasked or out of order."""
        return self.lost == self.dup == self.phantom == self.order_violations == 0


def judge(lines: Sequence[Line], effects: Sequence[Effect]) -> Verdict:
    """lines: one for each attempt (`account.told`). Indefinite attempts may have happened or not, but once at most."""
    states = {line.id: line.state for line in lines}
    happened = Counter(effect.id for effect in effects)
    count = Counter(states.values())
    lost = [what for what, state in states.items() if state == "ok" and not happened[what]]
    phantom = [what for what in happened if states.get(what, "fail") == "fail"]
    doubled = [what for what, times in happened.items() if times > 1]
    kinds = (("lost", lost), ("doubled", doubled), ("phantom", phantom))
    return Verdict(
        acked=count["ok"],
        refused=count["fail"],
        indefinite=count["indefinite"] + count["attempt"],
        lost=len(lost),
        dup=sum(times - 1 for times in happened.values()),
        phantom=len(phantom),
        order_violations=_violations(effects),
        culprits=tuple(f"{kind} {what}" for kind, names in kinds for what in names[:NAMED]),
    )


def _violations(effects: Sequence[Effect]) -> int:
    highest: dict[str, int] = {}
    found = 0
    for effect in effects:
        found += effect.seq < highest.get(effect.key, effect.seq)
        highest[effect.key] = max(highest.get(effect.key, effect.seq), effect.seq)
    return found
