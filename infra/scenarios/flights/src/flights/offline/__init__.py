"""The whole circle in event time, without Kafka.

Written apart from the services that do the same on the log, so that each can be held against the other.
"""

from flights.offline.circle import Circle, Look, Month, walk, when
from flights.offline.seen import Seen, days_shuffled, rows_shuffled, seen
from flights.offline.versions import Version, log_losses, version, watch

__all__ = [
    "Circle",
    "Look",
    "Month",
    "Seen",
    "Version",
    "days_shuffled",
    "log_losses",
    "rows_shuffled",
    "seen",
    "version",
    "walk",
    "watch",
    "when",
]
