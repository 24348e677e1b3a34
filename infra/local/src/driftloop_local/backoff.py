"""When a part that died is started again. Pure: no clock."""

from dataclasses import dataclass
from typing import Final

# The first is far below a second, so that a killed part is back at once; a part that cannot start is tried ever less often.
DELAYS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
# Who served this long after getting ready was well: its death is a new story, not the next step of a loop.
WELL_AFTER_S: Final = 3.0
LOOPING_AFTER: Final = 3


@dataclass(frozen=True)
class Restarts:
    """How often a part died in all, and how often in a row without having been well."""

    total: int = 0
    in_a_row: int = 0

    def died(self, ready_for_s: float) -> "Restarts":
        """The part ended after having been ready for so long (0 when it never was)."""
        in_a_row = 1 if ready_for_s >= WELL_AFTER_S else self.in_a_row + 1
        return Restarts(self.total + 1, in_a_row)

    @property
    def delay_s(self) -> float:
        """How long to wait before the next start."""
        return DELAYS_S[min(max(self.in_a_row, 1), len(DELAYS_S)) - 1]

    @property
    def is_looping(self) -> bool:
        return self.in_a_row >= LOOPING_AFTER
