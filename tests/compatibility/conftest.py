"""Every check says what it has measured by `report`."""

from tests.faults.report import report

__all__ = ["report"]
