"""How the rows of a call fall into blocks: the end of one that was open, whole ones, the beginning of the next."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from driftloop_detect.banks.bank import BoolArray
from driftloop_detect.spec import IntArray

# So many marks a byte can count, which takes half the time of wider numbers.
SLAB: Final = 128


@dataclass(frozen=True, slots=True)
class Parts:
    """Of `rows` rows, `head` complete the open block, then come `whole` blocks, and what is left begins another."""

    rows: int
    block: int
    head: int
    completes: bool
    """The head is the end of a block, and not only more of it."""
    whole: int

    @classmethod
    def of(cls, rows: int, waiting: int, block: int) -> Self:
        """waiting: rows of the open block that came before."""
        head = min(rows, block - waiting) if waiting else 0
        return cls(rows, block, head, head > 0 and waiting + head == block, (rows - head) // block)

    @property
    def full(self) -> int:
        """Parts that are the end of a block: the first ones."""
        return self.completes + self.whole

    @property
    def count(self) -> int:
        """All parts."""
        return (self.head > 0) + self.whole + (self._tail < self.rows)

    @property
    def _tail(self) -> int:
        return self.head + self.whole * self.block

    def last_row(self, part: int) -> int:
        """Of a full part."""
        return self.head + (part + (self.head == 0)) * self.block - 1

    def marked(self, marks: BoolArray) -> IntArray:
        """Of each part and stream how many rows are marked: shape (count, F)."""
        found = [self._of_whole(marks[self.head : self._tail])] if self.whole else []
        if self.head:
            found.insert(0, marks[: self.head].sum(axis=0, keepdims=True))
        if self._tail < self.rows:
            found.append(marks[self._tail :].sum(axis=0, keepdims=True))
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _of_whole(self, marks: BoolArray) -> IntArray:
        slab = SLAB if self.block % SLAB == 0 else min(self.block, SLAB)
        if self.block % slab:
            return np.asarray(marks.reshape(self.whole, self.block, -1).sum(axis=1), np.int64)
        slabs = marks.view(np.uint8).reshape(self.whole, self.block // slab, slab, -1)
        return np.asarray(np.add.reduce(slabs, axis=2, dtype=np.uint8).sum(axis=1, dtype=np.int64))
