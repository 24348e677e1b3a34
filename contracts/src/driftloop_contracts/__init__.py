"""The wire of Driftloop: what may be said, and where.

`event` says what every event is, `topics` where each travels; the families stand in `data_plane`, `control_plane` and `loop`,
the documents that people apply in `documents`.
"""

from driftloop_contracts.event import AnyEvent, Cause, Event, Fact, Part, caused, derived_id, first, rfc3339
from driftloop_contracts.topics import BY_NAME, FACTS, TOPICS, Topic, topic_for

__all__ = [
    "BY_NAME", "FACTS", "TOPICS", "AnyEvent", "Cause", "Event", "Fact", "Part", "Topic", "caused", "derived_id", "first",
    "rfc3339", "topic_for",
]  # fmt: skip
