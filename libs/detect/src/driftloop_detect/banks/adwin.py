"""River's ADWIN on many streams at once: its alarms at its items, whatever the blocks.

River looks at the cuts of a window each 32 items. Windows of one length have the same cuts (`buckets.py`), so all streams of
one length take such a turn together. On an alarm river drops the window with the next item; here at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.banks.bank import BankAlarms, BankCounts, BankSpec, BoolArray, in_order
from driftloop_detect.banks.buckets import CLOCK, bound, ends, turns
from driftloop_detect.banks.door import Door
from driftloop_detect.banks.queue import Queue, queued
from driftloop_detect.banks.state import check
from driftloop_detect.errors import SnapshotRejected
from driftloop_detect.frame import pack, unpack
from driftloop_detect.spec import FloatArray, IntArray

# What is this close below the bound is computed again by river's own formula: the quick one rounds otherwise.
CLOSE: Final = 1e-6
NO_LOG_E: Final = float("nan")
Streams = IntArray | slice
EVERY: Final = slice(None)
_PER_STREAM: Final = {"counts": 3, "n": 1, "waits": 1, "total": 1, "deviations": 1}
_KINDS: Final[dict[str, type]] = {
    **dict.fromkeys(("counts", "n", "waits"), np.int64),
    **dict.fromkeys(("total", "deviations", "sums", "waiting"), np.float64),
}


class Cut(NamedTuple):
    """Where a window has changed: items since, and the means on both sides."""

    since: int
    before: float
    after: float


class AdwinBank:
    """See `Bank`. Its spec's parameter is delta; the rest are river's defaults."""

    def __init__(self, spec: BankSpec) -> None:
        self.spec = spec
        self._delta = float(spec.settings["delta"])
        self._door = Door(spec, instead=0.0)
        self._counts = BankCounts.none_yet(spec.streams)
        self._n = np.zeros(spec.streams, np.int64)
        """Items of each window, whole turns only."""
        self._sums = np.zeros((1, spec.streams))
        """Of each window the sum of the items before the end of each bucket, oldest first."""
        self._total = np.zeros(spec.streams)
        self._deviations = np.zeros(spec.streams)
        """Of each window the sum of squared deviations from its mean."""
        self._waiting = np.zeros((CLOCK, spec.streams))
        self._waits = np.zeros(spec.streams, np.int64)

    scores = ("mean",)

    @property
    def counts(self) -> BankCounts:
        return self._counts

    def update_block(self, values: FloatArray, present: BoolArray | None = None) -> BankAlarms:
        """See `Bank.update_block`."""
        items, waited = self._counts.accepted, self._waits
        block = self._door.admit(*self._door.given(values, present), self._counts)
        queue = queued(self._waiting, waited, block)
        raised = [
            self._alarm(queue, items, waited, place, stream, cut)
            for place in range(CLOCK - 1, int(queue.filled.max()), CLOCK)
            for stream, cut in self._turns(queue, place)
        ]
        self._waiting, self._waits = queue.rest(int(queue.filled.max()) // CLOCK, CLOCK)
        self._counts = block.counts
        return in_order(raised)

    def prime(self, stream: int, values: FloatArray) -> int:
        """The values, shape (m,), are the stream's memory of health. They count as no items.

        Returns how often it would have alarmed on them: not 0 means that this memory was dropped on the way.
        """
        alone = AdwinBank(self.spec.only(stream))
        alone._take(self, [stream], [0])
        alarms = alone.update_block(np.asarray(values, np.float64)[:, None])
        self._take(alone, [0], [stream])
        return len(alarms)

    def reset(self, streams: IntArray) -> None:
        """See `Bank.reset`."""
        self._waits[streams] = 0
        self._drop(streams)

    def snapshot(self) -> bytes:
        """See `Bank.snapshot`."""
        arrays = {
            "counts": self._counts.packed(),
            "n": self._n, "total": self._total, "deviations": self._deviations, "sums": self._sums.T[self._used().T],
            "waits": self._waits, "waiting": self._waiting.T[(np.arange(CLOCK)[:, None] < self._waits).T],
        }  # fmt: skip
        return pack(self.spec.digest, arrays)

    @classmethod
    def restore(cls, spec: BankSpec, blob: bytes) -> Self:
        """The bank that was taken down to these bytes: it raises the alarms that the other would have raised.

        Raises SnapshotRejected for bytes of another spec, another layout, or damaged ones.
        """
        bank, arrays = cls(spec), unpack(spec.digest, blob)
        _fits(arrays, spec.streams)
        bank._counts = BankCounts.unpacked(arrays["counts"])
        bank._n, bank._total = arrays["n"], arrays["total"]
        bank._deviations, bank._waits = arrays["deviations"], arrays["waits"]
        bank._grow(max(len(ends(n)) for n in np.unique(bank._n).tolist()))
        used, waits = bank._used(), np.arange(CLOCK)[:, None] < bank._waits
        if (arrays["sums"].size, arrays["waiting"].size) != (used.sum(), waits.sum()):
            raise SnapshotRejected("its sums are not those of its windows")
        bank._sums.T[used.T], bank._waiting.T[waits.T] = arrays["sums"], arrays["waiting"]
        return bank

    def _used(self) -> BoolArray:
        """Which of the sums count."""
        of_length = {n: len(ends(n)) for n in np.unique(self._n).tolist()}
        return np.arange(len(self._sums))[:, None] < np.array([of_length[n] for n in self._n.tolist()])

    def _take(self, other: "AdwinBank", theirs: list[int], ours: list[int]) -> None:
        """The memory of these streams is that of the other's."""
        self._grow(len(other._sums))
        self._sums[: len(other._sums), ours] = other._sums[:, theirs]
        self._waiting[:, ours] = other._waiting[:, theirs]
        self._n[ours], self._waits[ours] = other._n[theirs], other._waits[theirs]
        self._total[ours], self._deviations[ours] = other._total[theirs], other._deviations[theirs]

    def _turns(self, queue: Queue, place: int) -> list[tuple[int, Cut]]:
        """Every stream whose value at this place completes 32 has taken its turn. Each that alarms, with its cut."""
        full = queue.filled > place
        streams: Streams = EVERY if full.all() else np.flatnonzero(full)
        found = self._turned(streams, queue.values[place - CLOCK + 1 : place + 1, streams])
        if not isinstance(streams, slice):
            found = [(int(streams[column]), cut) for column, cut in found]
        self._drop([stream for stream, _ in found])
        return found

    def _turned(self, streams: Streams, items: FloatArray) -> list[tuple[int, Cut]]:
        n, total, deviations = self._n[streams], self._total[streams], self._deviations[streams]
        whole, added, now = n + CLOCK, _running(items), turns(n, self._delta)
        seen = np.concatenate([self._sums[:, streams], total + added])
        sums = seen[now.kept[:, 0]] if now.is_one else np.take_along_axis(seen, now.kept, axis=0)
        total, deviations = total + added[-1], deviations + _deviations(items, added[-1], total, n)
        self._grow(len(sums))
        self._sums[: len(sums), streams] = sums
        self._n[streams], self._total[streams], self._deviations[streams] = whole, total, deviations
        beyond = np.abs(sums * now.older - total * now.newer) - now.slack
        near = np.flatnonzero(beyond.max(axis=0) > np.sqrt(deviations / whole) * (1 - CLOSE))
        looked = [(at, _cut(sums[:, at], int(whole[at]), float(deviations[at]), self._delta)) for at in near.tolist()]
        return [(at, cut) for at, cut in looked if cut]

    def _drop(self, streams: Sequence[int] | IntArray) -> None:
        self._n[streams], self._total[streams], self._deviations[streams] = 0, 0.0, 0.0

    def _grow(self, rows: int) -> None:
        if rows > len(self._sums):
            self._sums = np.concatenate([self._sums, np.zeros((rows - len(self._sums), self.spec.streams))])

    def _alarm(
        self, queue: Queue, items: IntArray, waited: IntArray, place: int, stream: int, cut: Cut
    ) -> dict[str, float]:
        item = int(items[stream]) + place - int(waited[stream])
        worse = cut.after >= cut.before or self.spec.orientation[stream] == 0
        return {
            "stream": stream, "row": queue.row(place, stream, int(waited[stream])), "item": item,
            "onset_item": item - cut.since + 1, "direction": 1 if worse else -1, "score": 0,
            "log_e": NO_LOG_E, "before": cut.before, "after": cut.after,
        }  # fmt: skip


def _fits(arrays: Mapping[str, NDArray[Any]], streams: int) -> None:
    """Raises SnapshotRejected unless there is a state of so many streams in them."""
    sizes = {name: times * streams for name, times in _PER_STREAM.items()}
    check(arrays, _KINDS, sizes, streams, "ADWIN")
    n, waits = arrays["n"], arrays["waits"]
    if (n < 0).any() or (n % CLOCK).any() or (waits < 0).any() or (waits >= CLOCK).any():
        raise SnapshotRejected("its windows have lengths that no window has")


def _running(items: FloatArray) -> FloatArray:
    """Sums of the rows until each. Row by row: numpy's own goes column by column, and sums a single column in pairs."""
    sums = items.copy()
    for row in range(1, len(items)):
        sums[row] += sums[row - 1]
    return sums


def _deviations(items: FloatArray, added: FloatArray, total: FloatArray, n: IntArray) -> FloatArray:
    """What 32 items add to a window's sum of squared deviations. Added in their order, for sums in pairs depend on the shape."""
    mean: FloatArray = added / CLOCK
    squares: FloatArray = _running((items - mean) ** 2)[-1]
    between: FloatArray = (mean - total / np.maximum(n, 1)) ** 2 * (CLOCK * n / (n + CLOCK))
    return np.asarray(squares + between, np.float64)


def _cut(sums: FloatArray, whole: int, deviations: float, delta: float) -> Cut | None:
    """The cut of one window that is most beyond its bound. None: no change."""
    n0 = ends(whole)[:-1]
    u0, total = sums[: len(n0)], sums[len(n0)]
    before, after = u0 / n0, (total - u0) / (whole - n0)
    excess = np.abs(before - after) - bound(n0, whole, deviations, delta)
    at = int(excess.argmax())
    return Cut(int(whole - n0[at]), float(before[at]), float(after[at])) if excess[at] > 0 else None
