"""What a detector is and what it says, without any detector."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Param = float | int | bool | str


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """Everything that decides which alarms a stream of values raises."""

    name: str
    """Its entry in the catalogue."""
    semantics: str
    """The implementation whose alarms these are, with its version: `river-0.26.1:PageHinkley`."""
    params: tuple[tuple[str, Param], ...]
    """Sorted by name, complete: no default is left to the library."""
    orientation: Literal[1, -1]
    """1: a greater value is worse. -1: a smaller one is; the value is turned round at the door."""
    domain: tuple[float, float]
    """Inclusive. A value outside stops at the door and is counted."""

    @property
    def settings(self) -> dict[str, Param]:
        return dict(self.params)

    @property
    def digest(self) -> bytes:
        """sha256 of all of the above: equal specs, and no others, read each other's snapshots."""
        whole = [self.name, self.semantics, self.params, self.orientation, [repr(bound) for bound in self.domain]]
        return hashlib.sha256(json.dumps(whole).encode()).digest()


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the values so far. Never reset."""

    accepted: int = 0
    not_finite: int = 0
    outside_domain: int = 0
    alarms: int = 0


class Columns:
    """Alarms as columns of equal length, `row` among them. For dataclasses."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]
    MEASURES: ClassVar[tuple[str, ...]]
    """The columns that hold measures; all others hold whole numbers."""

    row: IntArray

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, float]]) -> Self:
        """Alarms from one mapping each. No rows give empty columns of the same types."""
        kinds = {name: np.float64 if name in cls.MEASURES else np.int64 for name in (f.name for f in fields(cls))}
        return cls(**{name: np.array([row[name] for row in rows], dtype=kind) for name, kind in kinds.items()})

    def rows(self) -> list[dict[str, float]]:
        """One mapping per alarm."""
        return [{f.name: getattr(self, f.name)[i].item() for f in fields(self)} for i in range(len(self))]


@dataclass(frozen=True, slots=True)
class Alarms(Columns):
    """The alarms of one call, as columns in the order of the values. Length 0 almost always."""

    MEASURES: ClassVar = ("before", "after", "statistic")

    row: IntArray
    """Which of the call's values raised it."""
    item: IntArray
    """Which accepted value of the stream's life raised it, from 0; never reset."""
    onset_item: IntArray
    """The item from which on the detector holds the stream to be changed; below 0 it lies in what primed it."""
    direction: IntArray
    """1: worse. -1: better, which is information and no incident."""
    before: FloatArray
    """Mean of the oriented values before the onset."""
    after: FloatArray
    """Mean of the oriented values since the onset."""
    statistic: FloatArray
    """What the detector compared with its threshold; for ADWIN and HDDM the difference of the means."""


class Detector(Protocol):
    """Watches one stream of values and says, per value, whether the stream has changed.

    The same values in the same order give the same alarms, whatever the sizes of the calls, and whether or not
    it was taken down to bytes in between. No clock, no randomness, no I/O.
    """

    @property
    def spec(self) -> DetectorSpec: ...

    @property
    def counts(self) -> Counts: ...

    def update_many(self, values: FloatArray) -> Alarms:
        """Every value has been seen, in order, and the flag was read after each.

        values: shape (n,). Values that are not finite, or outside the spec's domain, are counted and go no further.
        """

    def prime(self, values: FloatArray) -> int:
        """The values are the detector's memory of a healthy stream. They count as no items.

        Returns how often it would have alarmed on them: not 0 means that this memory was dropped on the way.
        """

    def reset(self) -> None:
        """The memory is empty; the counts stay."""

    def snapshot(self) -> bytes:
        """All of its state. Read back by the catalogue's `restore` under the same spec."""

    @property
    def statistic(self) -> float:
        """What it compares with its threshold, as it stands."""
