"""A whole serving for tests: in memory (`bench`), or as a process on a real Kafka (`process`)."""

from serving.testing.bench import (
    DEADLINE_S,
    FEATURES,
    NOON,
    Bench,
    ListSpool,
    Tally,
    a_declaration,
    an_event,
    linear_model,
)

__all__ = ["DEADLINE_S", "FEATURES", "NOON", "Bench", "ListSpool", "Tally", "a_declaration", "an_event", "linear_model"]
