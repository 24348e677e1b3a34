"""The newest values of every entity, in memory: a copy of the compacted `features.v1`.

A million entities as Python objects weigh over a gigabyte and are walked over by the collector; packed they are a few hundred
bytes each, and nothing to walk over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from serving.domain.features import Reading, Scalar

# A reading of ten numbers weighs about 300 bytes: a replica must say no before its machine does.
MAX_ENTITIES: Final = 1_000_000
# Views have few sets of names. Beyond this somebody makes them up, and each reading brings its own.
MAX_SHAPES: Final = 1_000
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder().decode

Names = tuple[str, ...]
Kept = bytes | Reading
"""Packed: shape or names, time, revision, values. As it is where a number is too large to be packed."""


class OnlineReadings:
    """Keeps the greatest (time, revision) of each entity, up to a number of entities."""

    def __init__(self, max_entities: int = MAX_ENTITIES) -> None:
        self._max_entities = max_entities
        self._views: dict[str, dict[str, Kept]] = {}
        self._shapes: dict[Names, int] = {}
        self._names: list[Names] = []
        self._entities = 0
        self.refused = 0
        """Readings of new entities that found no room: their features are missing here."""

    def __len__(self) -> int:
        return self._entities

    def put(self, view: str, entity: str, reading: Reading) -> None:
        """Kept if it replaces what is there."""
        held = self.get(view, entity)
        if held is None and self._entities >= self._max_entities:
            self.refused += 1
        elif reading.replaces(held):
            self._entities += held is None
            self._views.setdefault(view, {})[entity] = self._packed(reading)

    def get(self, view: str, entity: str) -> Reading | None:
        """The newest, or None for an entity that nobody spoke of."""
        kept = self._views.get(view, {}).get(entity)
        return self._unpacked(kept) if isinstance(kept, bytes) else kept

    def _packed(self, reading: Reading) -> Kept:
        names = tuple(reading.values)
        shape = self._shape(names)
        told: Any = names if shape is None else shape
        try:
            return _pack((told, reading.time_us, reading.revision, tuple(reading.values.values())))
        except OverflowError:
            return reading

    def _unpacked(self, kept: bytes) -> Reading:
        told, time_us, revision, values = _unpack(kept)
        names: Names = self._names[told] if isinstance(told, int) else told
        found: Mapping[str, Scalar] = dict(zip(names, values, strict=True))
        return Reading(found, time_us, revision)

    def _shape(self, names: Names) -> int | None:
        """The number of this set of names; None where there are too many."""
        if names not in self._shapes and len(self._names) < MAX_SHAPES:
            self._shapes[names] = len(self._names)
            self._names.append(names)
        return self._shapes.get(names)
