"""River's detectors, one value at a time, with their state in the open.

An adapter changes nothing about river's alarms. It adds what river does not keep: when the change began, and the
means before and after it; and it reads and writes river's own attributes as plain arrays.
"""

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

import numpy as np
from numpy.typing import NDArray
from river import drift, stats

from driftloop_detect.errors import SnapshotRejected
from driftloop_detect.frame import Arrays

StateArrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Change:
    """What a detector holds to have happened, on the step on which it alarms."""

    before: float
    after: float
    since: int
    """How many of the last values belong to the changed stream."""


class Adapter(ABC):
    """One river detector."""

    river: Any

    def __init__(self, **params: object) -> None:
        self.river = self.made(**params)

    @abstractmethod
    def made(self, **params: object) -> Any:
        """River's detector with these parameters."""

    @abstractmethod
    def change(self) -> Change:
        """True on the step of an alarm only: on the next one river's memory is gone."""

    @property
    @abstractmethod
    def statistic(self) -> float:
        """What is compared with the threshold."""

    @abstractmethod
    def arrays(self) -> StateArrays:
        """All state, river's and ours."""

    @abstractmethod
    def load(self, arrays: Arrays) -> None:
        """The state is as it was. Raises SnapshotRejected when arrays are missing or of the wrong size."""

    def update(self, value: float) -> bool:
        """Whether river alarms on this very value."""
        self.river.update(value)
        return bool(self.river.drift_detected)


class PageHinkley(Adapter):
    """The means on both sides of the lowest (for falling streams: highest) point of the cumulated sum."""

    _RIVERS: ClassVar = ("_sum_increase", "_sum_decrease", "_min_increase", "_max_decrease")

    def made(self, **params: object) -> Any:
        self._forget()
        return drift.PageHinkley(**params)

    def _forget(self) -> None:
        self._total = self._low_n = self._low_total = self._high_n = self._high_total = 0.0

    def update(self, value: float) -> bool:
        if self.river.drift_detected:
            self._forget()
        alarmed = super().update(value)
        self._total += value
        # River has just moved its extreme to the present sum: what follows is after the turning point.
        if self.river._min_increase == self.river._sum_increase:
            self._low_n, self._low_total = self.river._x_mean.n, self._total
        if self.river._max_decrease == self.river._sum_decrease:
            self._high_n, self._high_total = self.river._x_mean.n, self._total
        return alarmed

    @property
    def _rise(self) -> float:
        return cast(float, self.river._sum_increase - self.river._min_increase)

    @property
    def _fall(self) -> float:
        return cast(float, self.river._max_decrease - self.river._sum_decrease)

    @property
    def statistic(self) -> float:
        sides = {"up": (self._rise,), "down": (self._fall,), "both": (self._rise, self._fall)}
        return max(sides[self.river.mode]) if self.river._x_mean.n else 0.0

    def change(self) -> Change:
        up = self.river.mode == "up" or (self.river.mode == "both" and self._rise >= self._fall)
        n, total = (self._low_n, self._low_total) if up else (self._high_n, self._high_total)
        return _change(n, total, self.river._x_mean.n, self._total)

    def arrays(self) -> StateArrays:
        mean = self.river._x_mean
        rivers = [float(getattr(self.river, name)) for name in self._RIVERS]
        ours = [self._total, self._low_n, self._low_total, self._high_n, self._high_total]
        return {"state": np.array([float(self.river._drift_detected), mean.n, mean.get(), *rivers, *ours])}

    def load(self, arrays: Arrays) -> None:
        flag, n, mean, *rest = _floats(arrays, "state", 12)
        self.river._drift_detected = bool(flag)
        self.river._x_mean = _mean(n, mean)
        for name, value in zip(self._RIVERS, rest[:4], strict=True):
            setattr(self.river, name, value)
        self._total, self._low_n, self._low_total, self._high_n, self._high_total = rest[4:]


class Adwin(Adapter):
    """On an alarm river has already dropped the older part: what was seen in all, less what it kept, is before."""

    def made(self, **params: object) -> Any:
        self._n = self._total = 0.0
        return drift.ADWIN(**params)

    def update(self, value: float) -> bool:
        if self.river.drift_detected:
            self._n = self._total = 0.0
        self._n += 1
        self._total += value
        return super().update(value)

    @property
    def statistic(self) -> float:
        change = self.change()
        return change.after - change.before

    def change(self) -> Change:
        dropped = self._n - self.river.width
        return _change(dropped, self._total - self.river.total, self._n, self._total)

    def arrays(self) -> StateArrays:
        helper = np.frombuffer(self.river._helper.__getstate__(), np.uint8)
        return {"state": np.array([float(self.river._drift_detected), self._n, self._total]), "helper": helper}

    def load(self, arrays: Arrays) -> None:
        flag, self._n, self._total = _floats(arrays, "state", 3)
        # River's Rust helper reads its own bytes; the frame's checksum and river version stand before it,
        # because it panics, rather than raises, on anything else.
        self.river._helper.__setstate__(_bytes(arrays, "helper"))
        self.river._drift_detected = bool(flag)


class HddmA(Adapter):
    """River keeps the mean up to its best cut; what came since is the rest of the whole."""

    _RIVERS: ClassVar = ("_x_min", "_x_max", "_z")

    def made(self, **params: object) -> Any:
        return drift.binary.HDDMA(**params)

    @property
    def statistic(self) -> float:
        change = self.change()
        return change.after - change.before

    def change(self) -> Change:
        fell = self.river.two_sided_test and not self.river._mean_incr(self.river.drift_confidence)
        cut, whole = self.river._x_max if fell else self.river._x_min, self.river._z
        return _change(cut.n, cut.n * cut.get(), whole.n, whole.n * whole.get())

    def arrays(self) -> StateArrays:
        state = [float(self.river._drift_detected), float(self.river._warning_detected)]
        for name in self._RIVERS:
            mean = getattr(self.river, name)
            state += [mean.n, mean.get()]
        return {"state": np.array(state)}

    def load(self, arrays: Arrays) -> None:
        drifted, warned, *means = _floats(arrays, "state", 8)
        self.river._drift_detected, self.river._warning_detected = bool(drifted), bool(warned)
        for i, name in enumerate(self._RIVERS):
            setattr(self.river, name, _mean(means[2 * i], means[2 * i + 1]))


class HddmW(Adapter):
    """River keeps weighted means of the values before and since its best cut."""

    _RIVERS: ClassVar = ("_total", "_s1_incr", "_s2_incr", "_s1_decr", "_s2_decr")

    def made(self, **params: object) -> Any:
        self._since_low = self._since_high = 0.0
        return drift.binary.HDDMW(**params)

    def update(self, value: float) -> bool:
        if self.river.drift_detected:
            self._since_low = self._since_high = 0.0
        alarmed = super().update(value)
        self._since_low = self._since_low + 1 if self.river._s2_incr.is_init else 0.0
        self._since_high = self._since_high + 1 if self.river._s2_decr.is_init else 0.0
        return alarmed

    @property
    def statistic(self) -> float:
        change = self.change()
        return change.after - change.before

    def change(self) -> Change:
        fell = self.river.two_sided_test and not self.river._detect_mean_incr(self.river.drift_confidence)
        if fell:
            return Change(self.river._s1_decr.ewma, self.river._s2_decr.ewma, int(self._since_high))
        return Change(self.river._s1_incr.ewma, self.river._s2_incr.ewma, int(self._since_low))

    def arrays(self) -> StateArrays:
        flags = [float(self.river._drift_detected), float(self.river._warning_detected)]
        state = [*flags, self.river._incr_cutpoint, self.river._decr_cutpoint, self._since_low, self._since_high]
        helpers = b""
        for name in self._RIVERS:
            sample = getattr(self.river, name)
            state += [float(sample._is_init), sample._ibc]
            helpers += sample._ewma._ewmean.__getstate__()
        return {"state": np.array(state), "helpers": np.frombuffer(helpers, np.uint8)}

    def load(self, arrays: Arrays) -> None:
        drifted, warned, low, high, self._since_low, self._since_high, *samples = _floats(arrays, "state", 16)
        self.river._drift_detected, self.river._warning_detected = bool(drifted), bool(warned)
        self.river._incr_cutpoint, self.river._decr_cutpoint = low, high
        helpers = _bytes(arrays, "helpers")
        if len(helpers) != len(self._RIVERS) * _EWMEAN_BYTES:
            raise SnapshotRejected(f"its weighted means have {len(helpers)} bytes")
        for i, name in enumerate(self._RIVERS):
            sample = getattr(self.river, name)
            sample._is_init, sample._ibc = bool(samples[2 * i]), samples[2 * i + 1]
            sample._ewma._ewmean.__setstate__(helpers[i * _EWMEAN_BYTES : (i + 1) * _EWMEAN_BYTES])


# Mean, fading factor, its complement, whether a value came, and the factor again: river 0.26's own layout.
_EWMEAN_BYTES: Final = struct.calcsize("<ddd?d")


def _change(n_before: float, total_before: float, n: float, total: float) -> Change:
    """The means on both sides of the cut; where one side is empty, both are the mean of all."""
    since = int(n - n_before)
    if n_before <= 0 or since <= 0:
        mean = total / n if n else 0.0
        return Change(mean, mean, since)
    return Change(total_before / n_before, (total - total_before) / since, since)


def _mean(n: float, mean: float) -> Any:
    return stats.Mean._from_state(n, mean)


def _floats(arrays: Arrays, name: str, size: int) -> list[float]:
    array = arrays.get(name)
    if array is None or array.dtype != np.float64 or array.size != size:
        raise SnapshotRejected(f"its array {name!r} is missing or has not {size} numbers")
    return [float(number) for number in array.tolist()]


def _bytes(arrays: Arrays, name: str) -> bytes:
    array = arrays.get(name)
    if array is None or array.dtype != np.uint8 or array.size == 0:
        raise SnapshotRejected(f"its bytes {name!r} are missing")
    return array.tobytes()
