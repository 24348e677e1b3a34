"""The door before every river detector, and the pure step over it.

Order: finite, domain, orientation, detector. One value that is not a number would deafen river's detectors for good,
and its flag lives for one update only, so both are dealt with here and nowhere else.
"""

from dataclasses import astuple, dataclass
from typing import Self

import numpy as np

from driftloop_detect import catalogue
from driftloop_detect.adapters import Adapter
from driftloop_detect.errors import SnapshotRejected
from driftloop_detect.frame import pack, unpack
from driftloop_detect.spec import Alarms, Counts, DetectorSpec, FloatArray, IntArray


class GuardedDetector:
    """A river detector behind the `Detector` protocol."""

    def __init__(self, spec: DetectorSpec) -> None:
        self.spec = spec
        self._adapter: Adapter = catalogue.adapter(spec)
        self._counts = Counts()

    @property
    def counts(self) -> Counts:
        return self._counts

    @property
    def statistic(self) -> float:
        return self._adapter.statistic

    def update_many(self, values: FloatArray) -> Alarms:
        """See `Detector.update_many`."""
        rows, oriented, counts = self._admitted(values)
        alarms = []
        for i, value in enumerate(oriented.tolist()):
            # River's flag is true for one update only: read it here, or the alarm is lost with the window.
            if self._adapter.update(value):
                alarms.append(self._alarm(int(rows[i]), self._counts.accepted + i))
        self._counts = Counts(counts.accepted, counts.not_finite, counts.outside_domain, counts.alarms + len(alarms))
        return Alarms.of(alarms)

    def prime(self, values: FloatArray) -> int:
        """See `Detector.prime`."""
        _, oriented, _ = self._admitted(values)
        return sum(self._adapter.update(value) for value in oriented.tolist())

    def reset(self) -> None:
        """See `Detector.reset`."""
        self._adapter = catalogue.adapter(self.spec)

    def snapshot(self) -> bytes:
        """See `Detector.snapshot`."""
        counts = np.array(astuple(self._counts), dtype=np.int64)
        return pack(self.spec.digest, {"counts": counts, **self._adapter.arrays()})

    @classmethod
    def restore(cls, spec: DetectorSpec, blob: bytes) -> Self:
        """The detector that was taken down to these bytes: it raises the alarms that the other would have raised.

        Raises SnapshotRejected for bytes of another spec, another river, another layout, or damaged ones.
        """
        arrays = unpack(spec.digest, blob)
        counts = arrays.get("counts")
        if counts is None or counts.size != 4:
            raise SnapshotRejected("its counts are missing")
        detector = cls(spec)
        detector._adapter.load(arrays)
        detector._counts = Counts(*counts.tolist())
        return detector

    def _admitted(self, values: FloatArray) -> tuple[IntArray, FloatArray, Counts]:
        """Which values may pass, these values with greater = worse, and the counts after them."""
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 1:
            raise ValueError(f"values of one stream have shape (n,), got {array.shape}")
        finite = np.isfinite(array)
        low, high = self.spec.domain
        inside = finite & (array >= low) & (array <= high)
        rows, was = np.flatnonzero(inside), self._counts
        counts = Counts(
            accepted=was.accepted + len(rows),
            not_finite=was.not_finite + int((~finite).sum()),
            outside_domain=was.outside_domain + int((finite & ~inside).sum()),
            alarms=was.alarms,
        )
        return rows, oriented(array[rows], self.spec), counts

    def _alarm(self, row: int, item: int) -> dict[str, float]:
        change = self._adapter.change()
        return {
            "row": row,
            "item": item,
            "onset_item": item - change.since + 1,
            "direction": 1 if change.after >= change.before else -1,
            "before": change.before,
            "after": change.after,
            "statistic": self._adapter.statistic,
        }


def oriented(values: FloatArray, spec: DetectorSpec) -> FloatArray:
    """The values with greater = worse. In [0, 1] a good share becomes the bad one, else the sign turns."""
    if spec.orientation == 1:
        return values
    return 1.0 - values if spec.domain == (0.0, 1.0) else -values


@dataclass(frozen=True, slots=True)
class DetectorState:
    """A detector at rest: its spec and its bytes. Stepped, never changed."""

    spec: DetectorSpec
    blob: bytes

    @property
    def counts(self) -> Counts:
        return GuardedDetector.restore(self.spec, self.blob).counts

    @property
    def statistic(self) -> float:
        return GuardedDetector.restore(self.spec, self.blob).statistic


def primed(spec: DetectorSpec, values: FloatArray | None = None) -> DetectorState:
    """A new detector's state; with values, as if it had watched these without a word.

    Values on which the detector would alarm are fed once more in an order without trends, since the alarm would
    have emptied its memory: a memory of its healthy values, in another order, is better than none.
    """
    detector = GuardedDetector(spec)
    if values is not None and detector.prime(values):
        detector.reset()
        detector.prime(trendless(values))
    return DetectorState(spec, detector.snapshot())


def step(state: DetectorState, values: FloatArray) -> tuple[DetectorState, Alarms]:
    """The state after these values, and the alarms among them. The old state is still good: a retry counts nothing twice.

    Raises SnapshotRejected when the state is not of its spec.
    """
    detector = GuardedDetector.restore(state.spec, state.blob)
    alarms = detector.update_many(values)
    return DetectorState(state.spec, detector.snapshot()), alarms


def trendless(values: FloatArray) -> FloatArray:
    """The same values with their ranks in bit-reversed order: high and low ones alternate at every scale."""
    ranks = np.sort(np.asarray(values, dtype=np.float64))
    bits = max(1, (len(ranks) - 1).bit_length())
    order = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits)]
    return ranks[[i for i in order if i < len(ranks)]]
