"""The newest values of every entity, in memory: a copy of the compacted `features.v1`."""

from __future__ import annotations

from typing import Final

from serving.domain.features import Reading

# A reading of ten numbers weighs about 1 KB: a replica must say no before its machine does.
MAX_ENTITIES: Final = 1_000_000


class OnlineReadings:
    """Keeps the greatest (time, revision) of each entity, up to a number of entities."""

    def __init__(self, max_entities: int = MAX_ENTITIES) -> None:
        self._max_entities = max_entities
        self._readings: dict[tuple[str, str], Reading] = {}
        self.refused = 0
        """Readings of new entities that found no room: their features are missing here."""

    def __len__(self) -> int:
        return len(self._readings)

    def put(self, view: str, entity: str, reading: Reading) -> None:
        """Kept if it replaces what is there."""
        held = self._readings.get((view, entity))
        if held is None and len(self._readings) >= self._max_entities:
            self.refused += 1
        elif reading.replaces(held):
            self._readings[view, entity] = reading

    def get(self, view: str, entity: str) -> Reading | None:
        """The newest, or None for an entity that nobody spoke of."""
        return self._readings.get((view, entity))
