"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Full jitter between `least_s` and a bound that doubles up to `most_s`: many waiters don't come back together."""

    least_s: float = 0.05
    most_s: float = 2.0
    tries: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def next_s(self) -> float:
        """The next wait in seconds; the bound doubles."""
        bound = min(self.most_s, self.least_s * 2 ** min(self.tries + 1, 16))
        self.tries += 1
        return self.chance.uniform(self.least_s, bound)

    def reset(self) -> None:
        """It went well: begin small again."""
        self.tries = 0
