"""What a bank is asked, and what it says."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.spec import Columns, FloatArray, IntArray, Param

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BankSpec:
    """Everything that decides which alarms the rows of F streams raise."""

    backend: str
    semantics: str
    """The implementation whose alarms these are, with its version: `river-0.26.1:ADWIN`."""
    params: tuple[tuple[str, Param], ...]
    """Sorted by name, complete."""
    orientation: tuple[int, ...]
    """Of each stream. 1: a greater value is worse. -1: a smaller one is. 0: both are."""
    domain: tuple[tuple[float, float], ...]
    """Of each stream, inclusive. A value outside stops at the door and is counted."""

    def __post_init__(self) -> None:
        if len(self.orientation) != len(self.domain) or not self.orientation:
            raise ValueError(f"{len(self.orientation)} orientations and {len(self.domain)} domains are no streams")
        if strange := sorted(set(self.orientation) - {-1, 0, 1}):
            raise ValueError(f"an orientation is -1, 0 or 1, got {strange[0]}")
        if bad := next((one for one in self.domain if not one[0] < one[1]), None):
            raise ValueError(f"a domain is from low to high, got {list(bad)}")

    @property
    def streams(self) -> int:
        return len(self.orientation)

    def only(self, stream: int) -> Self:
        """The spec of this stream alone."""
        one = slice(stream, stream + 1)
        return replace(self, orientation=self.orientation[one], domain=self.domain[one])

    @property
    def settings(self) -> dict[str, Param]:
        return dict(self.params)

    @property
    def digest(self) -> bytes:
        """sha256 of all of the above: equal specs, and no others, read each other's snapshots."""
        bounds = [[repr(float(low)), repr(float(high))] for low, high in self.domain]
        whole = [self.backend, self.semantics, self.params, [int(one) for one in self.orientation], bounds]
        return hashlib.sha256(json.dumps(whole).encode()).digest()


@dataclass(frozen=True, slots=True)
class BankAlarms(Columns):
    """The alarms of one block as columns, by row and then by stream. Length 0 almost always."""

    MEASURES: ClassVar = ("log_e", "before", "after")

    stream: IntArray
    row: IntArray
    """Which of the block's rows raised it."""
    item: IntArray
    """Which accepted value of the stream's life raised it, from 0; never reset."""
    onset_item: IntArray
    """The item from which on the stream is held to be changed; below 0 it lies in what primed it."""
    direction: IntArray
    """1: worse, or changed where both ways are. -1: better, which is information and no incident."""
    score: IntArray
    """Which of the bank's `scores` carries it."""
    log_e: FloatArray
    """Evidence in nats; NaN where the detector has none."""
    before: FloatArray
    """Mean of the score before the onset: of the oriented values themselves, or of what the bank makes of them."""
    after: FloatArray
    """The same since the onset."""


def in_order(rows: Sequence[Mapping[str, float]]) -> "BankAlarms":
    """Alarms from one mapping each, in any order."""
    return BankAlarms.of(sorted(rows, key=lambda one: (one["row"], one["stream"])))


@dataclass(frozen=True, slots=True)
class BankCounts:
    """What became of each stream's values so far: columns of shape (F,). Never reset."""

    accepted: IntArray
    absent: IntArray
    invalid: IntArray
    """Not finite, or outside the domain."""

    @classmethod
    def none_yet(cls, streams: int) -> Self:
        """Those of a new bank."""
        return cls.unpacked(np.zeros(3 * streams, np.int64))

    def packed(self) -> IntArray:
        """All of them, shape (3 F,)."""
        return np.concatenate([self.accepted, self.absent, self.invalid])

    @classmethod
    def unpacked(cls, packed: IntArray) -> Self:
        """What `packed` was made of."""
        return cls(*packed.reshape(3, -1))


class Bank(Protocol):
    """Watches F streams. The same rows in the same order give the same alarms, whatever the sizes of the blocks."""

    @property
    def spec(self) -> BankSpec: ...

    @property
    def scores(self) -> tuple[str, ...]:
        """What is looked at in each stream, by name."""

    @property
    def counts(self) -> BankCounts: ...

    def update_block(self, values: FloatArray, present: BoolArray | None = None) -> BankAlarms:
        """Every row has been seen. values: shape (n, F). present: shape (n, F); False: there is no value.

        Raises ValueError for another shape. Bad values never raise: they are counted and go no further.
        """

    def reset(self, streams: IntArray) -> None:
        """The memory of these streams is empty; their counts stay."""

    def snapshot(self) -> bytes:
        """All of its state, in the frame of snapshots; read back by `restore` under the same spec."""
