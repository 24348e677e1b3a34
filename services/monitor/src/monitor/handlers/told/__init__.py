"""From the domain's verdicts to the words of the wire, each with the event that it follows from."""

from monitor.handlers.told.drift import broken, check_name, cleared, detected, histogram, updated
from monitor.handlers.told.looks import judged, rollback
from monitor.handlers.told.measurements import Span, measured
from monitor.handlers.told.retraining import commanded, refused, requested, suppressed

__all__ = [
    "Span", "broken", "check_name", "cleared", "commanded", "detected", "histogram", "judged", "measured", "refused",
    "requested", "rollback", "suppressed", "updated",
]  # fmt: skip
