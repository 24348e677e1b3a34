"""Accepted values of a block behind those that wait for a full turn, each with the row that it came in."""

from dataclasses import dataclass

import numpy as np

from driftloop_detect.banks.door import Admitted
from driftloop_detect.spec import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Queue:
    """Values of F streams, oldest first; those of a stream lie without gaps."""

    values: FloatArray
    """Shape (longest, F); beyond `filled` they mean nothing."""
    filled: IntArray
    """Shape (F,)."""
    rows: IntArray | None
    """The block's row of each value, -1 for one that had waited. None: of the value at place p it is p less the waiting."""

    def row(self, place: int, stream: int, waited: int) -> int:
        """The row that a stream's value at this place came in."""
        return place - waited if self.rows is None else int(self.rows[place, stream])

    def rest(self, turns: int, size: int) -> tuple[FloatArray, IntArray]:
        """What is left of each stream when as many whole turns of this size as it has were taken: (size, F), and how many."""
        left = self.filled % size
        if not len(self.values):
            return np.zeros((size, len(left))), left
        if turns and (self.filled // size == turns).all():
            tail = self.values[turns * size : turns * size + size]
        else:
            places = (self.filled - left) + np.arange(size)[:, None]
            tail = np.take_along_axis(self.values, np.minimum(places, len(self.values) - 1), axis=0)
        rest = np.zeros((size, self.values.shape[1]))
        rest[: len(tail)] = tail
        return rest, left


def queued(waiting: FloatArray, waits: IntArray, block: Admitted) -> Queue:
    """The block behind what waits. waiting: shape (size, F), of which the first `waits` of each stream count."""
    if block.all and (waits == waits[0]).all():
        values = np.concatenate([waiting[: int(waits[0])], block.values])
        return Queue(values, np.full(len(waits), len(values)), None)
    return _scattered(waiting, waits, block)


def _scattered(waiting: FloatArray, waits: IntArray, block: Admitted) -> Queue:
    filled = waits + block.accepted.sum(axis=0)
    shape = (max(int(filled.max()), len(waiting)), len(waits))
    values, rows = np.zeros(shape), np.full(shape, -1)
    values[: len(waiting)] = waiting
    row, stream = np.nonzero(block.accepted)
    place = (waits + block.accepted.cumsum(axis=0) - 1)[row, stream]
    values[place, stream], rows[place, stream] = block.values[row, stream], row
    return Queue(values, filled, rows)
