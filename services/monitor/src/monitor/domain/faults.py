"""How far a structural fault reaches: which share of the rows it concerns, and how bad that makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from driftloop_detect.structural import Check, Finding
from driftloop_detect.structural.tally import BEAT_ROWS, BLOCK_ROWS

# Of the rows of a block, until the fault was seen.
WARNING_SHARE: Final = 0.1
CRITICAL_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Reach:
    """What is known of a fault when it is seen."""

    share: float | None
    """Of the block's rows so far, those concerned; None where the check does not count rows."""
    samples: int
    """Rows with the fault so far; where rows are not counted one by one, those that were compared."""

    @property
    def severity(self) -> str:
        """critical, warning or info by the share; warning where that is not known."""
        if self.share is None:
            return "warning"
        if self.share >= CRITICAL_SHARE:
            return "critical"
        return "warning" if self.share >= WARNING_SHARE else "info"


def reach(finding: Finding, rows_ever: int) -> Reach:
    """rows_ever: the stream's rows up to and with the one at which the check was made."""
    check = finding.check
    if _counts_rows(check):
        concerned = round(finding.observed * BLOCK_ROWS)
        return Reach(concerned / ((rows_ever - 1) % BLOCK_ROWS + 1), concerned)
    if check.kind == "stale":
        return Reach(None, round(finding.observed))  # equal values in a row
    return Reach(None, BLOCK_ROWS if check.kind == "feature" else BEAT_ROWS)


def _counts_rows(check: Check) -> bool:
    return check.kind in ("missing", "unseen", "range") or (check.kind == "stale" and check.segment is None)
